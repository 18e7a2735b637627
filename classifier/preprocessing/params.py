"""The section ``preprocess`` of params.yaml."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from classifier.core.errors import UserError
from classifier.core.resize import Interpolation, Mode, Resize
from classifier.core.types import Workers


@dataclass(frozen=True)
class PreprocessParams:
    """How images are stored for training; params.yaml explains the keys."""

    image_size: Annotated[int, Interval(ge=4, le=2048)] | Literal["auto"]
    channels: Literal["auto", 1, 3]
    resize: Mode | Literal["auto"]
    normalize: Literal["standardize", "unit"]
    workers: Workers = 0
    storage: Literal["arrays", "encoded"] = "arrays"
    encoded_size: Annotated[int, Interval(ge=4, le=4096)] | Literal["auto"] = "auto"
    encoded_quality: Annotated[int, Interval(ge=1, le=100)] | Literal["lossless"] = 90
    interpolation: Interpolation | Literal["auto"] = "auto"
    crop_fraction: Annotated[float, Interval(gt=0, le=1)] | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.resize == "pad" and self.crop_fraction not in ("auto", 1):
            raise UserError(
                f"preprocess.crop_fraction: {self.crop_fraction:g} would cut what pad adds: set it "
                "to 1.0, or preprocess.resize to crop"
            )

    @property
    def how(self) -> Resize:
        """How an image becomes a square, once `automatic.settled` has replaced ``auto``."""
        assert self.resize != "auto"
        assert self.interpolation != "auto"
        assert self.crop_fraction != "auto"
        return Resize(self.resize, self.interpolation, self.crop_fraction)
