"""The section ``train`` of params.yaml."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from classifier.checkpoint import interval
from classifier.device import DeviceName, PrecisionName
from classifier.errors import UserError
from classifier.imbalance import ClassWeights, Sampler
from classifier.optimizers import OptimizerName
from classifier.schedules import ScheduleName
from classifier.validation import Monitor

Fraction = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainParams:
    """The section ``train`` of params.yaml, which says what each key means."""

    lr: Annotated[float, Gt(0)]
    epochs: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]
    optimizer: OptimizerName
    seed: Annotated[int, Ge(0)]
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Fraction = 0.9
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    backbone_lr_factor: Annotated[float, Gt(0)] = 1.0
    schedule: ScheduleName = "constant"
    warmup_epochs: Annotated[float, Ge(0)] = 0.0
    gamma: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    step_epochs: Annotated[float, Gt(0)] = 10.0
    plateau_patience: Annotated[int, Ge(0)] = 3
    label_smoothing: Fraction = 0.0
    first_scale: Annotated[float, Interval(gt=0, le=1)] = 1.0
    full_scale_from: Fraction = 0.5
    side_step: Annotated[int, Ge(1)] = 2
    class_weights: ClassWeights = "none"
    sampler: Sampler = "shuffle"
    clip_norm: Annotated[float, Gt(0)] | None = None
    accumulate: Annotated[int, Ge(1)] = 1
    average_decay: Fraction = 0.0
    monitor: Monitor = "accuracy"
    patience: Annotated[int, Ge(1)] | None = None
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    channels_last: Literal["auto", True, False] = "auto"
    compile: Literal["auto", True, False, "graphs"] = "auto"
    data: Literal["auto", "resident", "stream"] = "auto"
    deterministic: bool = False
    processes: Annotated[int, Ge(1)] = 1
    checkpoint_every: str = "1 epoch"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        interval(self.checkpoint_every)
        if self.batch_size % (self.processes * self.accumulate):
            raise UserError(
                f"train.batch_size: {self.batch_size} is not a multiple of train.processes times"
                f" train.accumulate ({self.processes * self.accumulate}): change one of them."
            )
