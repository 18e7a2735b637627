"""The section ``train`` of params.yaml."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from classifier.core.errors import UserError
from classifier.models.device import DeviceName
from classifier.training.imbalance import ClassWeights, Sampler
from classifier.training.numerics import NumericsName, PrecisionName
from classifier.training.optimization.optimizers import OptimizerName
from classifier.training.optimization.schedules import ScheduleName
from classifier.training.progressive_resizing import ProgressiveParams
from classifier.training.run.checkpoint import interval
from classifier.training.validation import Monitor

Fraction = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainParams:
    """The section ``train`` of params.yaml, which says what each key means."""

    lr: Annotated[float, Gt(0)]
    epochs: Annotated[int, Interval(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Interval(ge=1, le=1 << 20)]
    optimizer: OptimizerName
    seed: Annotated[int, Ge(0)]
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Fraction = 0.9
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    backbone_lr_factor: Annotated[float, Gt(0)] = 1.0
    layer_decay: Annotated[float, Interval(gt=0, le=1)] = 1.0
    schedule: ScheduleName = "constant"
    warmup_epochs: Annotated[float, Ge(0)] = 0.0
    gamma: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    step_epochs: Annotated[float, Gt(0)] = 10.0
    plateau_patience: Annotated[int, Ge(0)] = 3
    label_smoothing: Fraction = 0.0
    progressive: ProgressiveParams = field(default_factory=ProgressiveParams)
    class_weights: ClassWeights = "none"
    sampler: Sampler = "shuffle"
    gradient_clip_norm: Annotated[float, Gt(0)] | None = None
    accumulation_steps: Annotated[int, Ge(1)] = 1
    ema_decay: Fraction = 0.0
    feature_views: Annotated[int, Interval(ge=1, le=1000)] | None = None
    monitor: Monitor = "accuracy"
    patience: Annotated[int, Ge(1)] | None = None
    device: DeviceName = "auto"
    numerics: NumericsName = "auto"
    precision: PrecisionName = "auto"
    channels_last: Literal["auto", True, False] = "auto"
    compile: Literal["auto", True, False, "graphs"] = "auto"
    data_placement: Literal["auto", "resident", "stream"] = "auto"
    deterministic: bool = False
    processes: Annotated[int, Interval(ge=1, le=1024)] = 1
    checkpoint_every: str = "1 epoch"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        interval(self.checkpoint_every)
        parts = self.processes * self.accumulation_steps
        if self.batch_size % parts:
            raise UserError(
                f"train.batch_size: {self.batch_size} is not a multiple of train.processes times"
                f" train.accumulation_steps ({parts}): change one of them."
            )
