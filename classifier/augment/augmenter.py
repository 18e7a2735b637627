"""Random changes to training images: on whole batches, different for each image.

Everything random is drawn on the CPU, so that the same seed gives the same images on every device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from classifier.augment import color, geometric, mixing, policies
from classifier.augment.draws import Draws

Fraction = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True)
class AugmentParams:
    """The section ``augment`` of params.yaml, which explains each key; the defaults are all off."""

    horizontal_flip: geometric.Flip = "none"
    vertical_flip: bool = False
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    rotate: Annotated[float, Interval(ge=0, le=180)] = 0.0
    zoom: Fraction = 0.0
    shear: Annotated[float, Interval(ge=0, le=60)] = 0.0
    crop: Annotated[float, Interval(gt=0, le=1)] = 1.0
    padding: geometric.Padding = "reflect"
    policy: policies.PolicyName = "none"
    rand_operations: Annotated[int, Interval(ge=1, le=14)] = 2
    rand_magnitude: Annotated[float, Interval(ge=0, le=30)] = 9.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Interval(ge=0, le=0.5)] = 0.0
    grayscale: Fraction = 0.0
    blur: Annotated[float, Interval(ge=0, le=10)] = 0.0
    noise: Fraction = 0.0
    cutout: Fraction = 0.0
    erasing: Fraction = 0.0
    mixup: Annotated[float, Interval(ge=0, le=100)] = 0.0
    cutmix: Annotated[float, Interval(ge=0, le=100)] = 0.0


class Augmenter:
    """Augments batches of training images; a pure function of them and the draws.

    Args:
        params: what to do, and how strongly.
        image_size: side of the images in pixels.
        channels: 1 (gray) or 3 (red, green, blue).
        fill: the color of erased parts, in 0..1 for each channel. The mean of the training
            images becomes 0 when they are standardized, which is what the papers use.
    """

    def __init__(
        self,
        params: AugmentParams,
        image_size: int,
        channels: int,
        fill: Sequence[float] | None = None,
    ) -> None:
        self.params = params
        self.image_size = image_size
        self.fill = torch.tensor(fill or [0.0] * channels).view(1, channels, 1, 1)
        self.shift = min(round(params.shift * image_size), image_size - 1)
        self._moves = params.horizontal_flip != "none" or params.vertical_flip or self.shift > 0
        self._resamples = bool(params.rotate or params.zoom or params.shear) or params.crop < 1
        self._recolors = bool(
            params.brightness
            or params.contrast
            or params.saturation
            or params.hue
            or params.grayscale
            or params.blur
            or params.noise
        )
        self._erases = bool(params.cutout or params.erasing)

    @property
    def active(self) -> bool:
        """Whether calling it, or ``mix``, changes anything."""
        return (
            self._moves
            or self._resamples
            or self._recolors
            or self._erases
            or self.params.policy != "none"
            or self.mixes
        )

    @property
    def mixes(self) -> bool:
        """Whether ``mix`` changes anything."""
        return self.params.mixup > 0 or self.params.cutmix > 0

    def __call__(
        self,
        images: Tensor,
        draws: Draws,
        rows: Tensor | None = None,
        epoch: int = 0,
    ) -> Tensor:
        """Augment a batch: move, apply the policy, recolour, erase, in this order.

        Args:
            images: float [N,C,H,W] in 0..1, not yet standardized; fastest when channels-last.
            draws: of the batch that the images are of, on the CPU whatever the images' device.
            rows: integer [N] on any device, the position of each image in the training set;
                needed by ``horizontal_flip: alternate`` alone.
            epoch: the number of the epoch, for the same setting.

        Returns:
            Images of the same shape, dtype, device and range.
        """
        dtype = images.dtype
        if self._resamples or self._recolors or self.params.policy != "none":
            images = images.float()  # flips and whole-pixel shifts are exact in any dtype
        if self._moves or self._resamples:
            images = self._geometry(images, draws, rows, epoch)
        if self.params.policy != "none":
            images = self._policy(images, draws)
        if self._recolors:
            images = self._colors(images, draws)
        if self._erases:
            images = self._erase(images, draws)
        return images.to(dtype)

    def mix(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Mix each image with the one before it, the first with the last; labels in proportion.

        With both mixup and cutmix on, each batch takes one of them at random.

        Args:
            images: float [N,C,S,S] of any size, before or after standardizing.
            labels: float [N,K], each row summing to 1 (one-hot, or smoothed).
            draws: of the batch that the images are of.

        Returns:
            Images and labels of the same shapes.
        """
        if not self.mixes:
            return images, labels
        params, n = self.params, len(images)
        mixup = params.mixup > 0
        if mixup and params.cutmix:
            mixup = draws.once() < 0.5
        fraction = draws.beta(n, params.mixup if mixup else params.cutmix)
        if mixup:
            return mixing.mixup(images, labels, fraction)
        size = images.shape[-1]
        side = size * (1 - fraction).sqrt()
        center = size * draws.uniform(n, parts=(2,))
        inside = mixing.boxes(center, side, side, size)
        return mixing.cutmix(images, labels, inside)

    def _geometry(self, images: Tensor, draws: Draws, rows: Tensor | None, epoch: int) -> Tensor:
        params, n, device = self.params, len(images), images.device
        if params.horizontal_flip == "alternate":
            if rows is None:
                raise ValueError("horizontal_flip: alternate needs the rows of the images")
            flip_x = geometric.alternate(rows.cpu(), epoch)
        else:
            flip_x = draws.happens(n, 0.5 * (params.horizontal_flip == "random"))
        flip_y = draws.happens(n, 0.5 * params.vertical_flip)
        shift_x, shift_y = draws.integers(n, -self.shift, self.shift + 1, parts=(2,))
        if not self._resamples:
            return geometric.move(
                images,
                flip_x.to(device),
                flip_y.to(device),
                shift_x.to(device),
                shift_y.to(device),
                params.padding,
            )
        slope = math.tan(math.radians(params.shear))
        log_zoom = math.log1p(params.zoom)
        zoom = draws.uniform(n, -log_zoom, log_zoom).exp()
        matrix = (
            geometric.translation(shift_x.float(), shift_y.float())
            @ geometric.rotation(draws.uniform(n, -params.rotate, params.rotate))
            @ geometric.shearing(*draws.uniform(n, -slope, slope, parts=(2,)))
            @ geometric.scaling(zoom, zoom)
            @ geometric.random_crop(params.crop, n, self.image_size, draws)
            @ geometric.scaling(1 - 2.0 * flip_x, 1 - 2.0 * flip_y)
        )
        return geometric.resample(images, matrix, params.padding)

    def _policy(self, images: Tensor, draws: Draws) -> Tensor:
        params = self.params
        steps = policies.draw(
            params.policy,
            len(images),
            self.image_size,
            draws,
            params.rand_operations,
            params.rand_magnitude,
        )
        for operation, strength in steps:
            images = policies.apply(images, operation, strength, params.padding)
        return images

    def _colors(self, images: Tensor, draws: Draws) -> Tensor:
        params, n, device = self.params, len(images), images.device

        def around(middle: float, width: float) -> Tensor:
            return draws.uniform(n, middle - width, middle + width).to(device)

        if params.brightness:
            images = color.brightness(images, around(1, params.brightness))
        if params.contrast:
            images = color.contrast(images, around(1, params.contrast))
        if params.saturation:
            images = color.saturation(images, around(1, params.saturation))
        if params.hue:
            images = color.hue(images, around(0, params.hue))
        if params.grayscale:
            kept = 1.0 - draws.happens(n, params.grayscale).float()
            images = color.saturation(images, kept.to(device))
        if params.blur:
            radius = min(math.ceil(3 * params.blur), self.image_size - 1)
            sigma = draws.uniform(n, 0, params.blur).to(device)
            images = color.blur(images, sigma, radius)
        if params.noise:
            deviation = draws.uniform(n, 0, params.noise).to(device)
            images = color.noise(images, deviation, draws)
        return images

    def _erase(self, images: Tensor, draws: Draws) -> Tensor:
        size, n = self.image_size, len(images)
        fill = self.fill.to(images.device, images.dtype).expand(-1, -1, size, size)
        if self.params.cutout:
            side = torch.full((n,), self.params.cutout * size)
            center = size * draws.uniform(n, parts=(2,))
            # A square at any place, cut off at the edges (DeVries & Taylor 2017, Improved
            # Regularization of Convolutional Neural Networks with Cutout, arXiv:1708.04552).
            images = mixing.paste(images, fill, mixing.boxes(center, side, side, size))
        if self.params.erasing:
            chosen = draws.happens(n, self.params.erasing)
            rows, columns = mixing.random_boxes(n, size, draws)
            images = mixing.paste(images, fill, mixing.Boxes(rows & chosen[:, None], columns))
        return images
