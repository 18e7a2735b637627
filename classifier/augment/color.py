"""Changes of pixel values, one strength for each image.

Images are float32 [N,C,H,W] in 0..1 with one (gray) or three (red, green, blue) channels, and so
are the results; strengths are float [N] on the same device. Definitions follow
``torchvision.transforms.v2.functional`` on float images, with which the tests compare.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from classifier.augment.draws import Draws


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply: 0 is black, 1 changes nothing."""
    return (images * _each(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from the image's mean gray: 0 is plain gray, 1 changes nothing."""
    return _blend(images, gray(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Move each pixel away from its own gray: 0 is a gray image, 1 changes nothing."""
    return _blend(images, gray(images), factor)


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue, in turns of the color circle (0.5 is the opposite color).

    Saturation and value of the HSV color stay; gray images do not change.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    spread = value - low
    safe = spread.clamp(min=1e-12)
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * _each(turns)[:, 0]
    # The closed form of the conversion back: each channel is the value less a trapezoid of the hue.
    places = torch.tensor([5.0, 3.0, 1.0], device=images.device).view(1, 3, 1, 1)
    k = (places + sixth[:, None]).remainder(6)
    trapezoid = torch.minimum(k, 4 - k).clamp_(0, 1)
    return (value[:, None] - spread[:, None] * trapezoid).clamp_(0, 1)


def gray(images: Tensor) -> Tensor:
    """The luma of each pixel (ITU-R BT.601), [N,1,H,W]."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from a smoothed image: 0 is smoothed, 1 changes nothing. Edge pixels stay."""
    if min(images.shape[2:]) < 3:
        return images
    smooth = images.clone()
    inner = smooth[:, :, 1:-1, 1:-1]  # the mean of 3×3 pixels, the middle one counted five times
    inner.mul_(4 / 13).add_(F.avg_pool2d(images, 3, stride=1), alpha=9 / 13)
    return _blend(images, smooth, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest 1 to 8 of the eight bits of each value."""
    step = _each(2.0 ** (8 - bits))
    # The small term keeps a value of k/255 from falling below k in float arithmetic.
    return ((images * 255 + 1e-3) / step).floor_() * step / 255


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values that reach the threshold (0..1)."""
    return torch.where(images >= _each(threshold), 1 - images, images)


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel so that its least value is 0 and its greatest 1."""
    low = images.amin((2, 3), keepdim=True)
    spread = images.amax((2, 3), keepdim=True) - low
    return torch.where(spread > 0, (images - low) / spread.clamp(min=1e-12), images).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Spread the 256 levels of each channel so that all are about equally frequent.

    The algorithm of Pillow's ``ImageOps.equalize``; a channel of fewer than 256 pixels outside
    its brightest level does not change.
    """
    n, channels, height, width = images.shape
    levels = (images * 255).round_().long().reshape(n * channels, -1)
    counts = torch.zeros(n * channels, 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    brightest = counts.gather(1, levels.amax(1, keepdim=True))
    step = (height * width - brightest) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255)
    spread = (table.gather(1, levels) / 255).view(images.shape)
    return torch.where((step > 0).view(n, channels, 1, 1), spread, images)


def blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur with a standard deviation in pixels; a deviation of 0 changes nothing.

    ``radius`` is where the kernel ends, in pixels, for all images; less than the side.
    """
    distance = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-2)[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    padded = F.pad(images, [radius] * 4, mode="reflect")
    height, width = images.shape[2:]
    taps = [_each(weight) for weight in weights.unbind(1)]
    rows = torch.zeros_like(padded[:, :, :height])
    for i, tap in enumerate(taps):
        rows.addcmul_(padded[:, :, i : i + height], tap)
    out = torch.zeros_like(images)
    for i, tap in enumerate(taps):
        out.addcmul_(rows[:, :, :, i : i + width], tap)
    return out.clamp_(0, 1)


def noise(images: Tensor, deviation: Tensor, draws: Draws) -> Tensor:
    """Add Gaussian noise of a standard deviation (1 is the whole range), drawn on the CPU."""
    drawn = draws.normal(images.shape).to(images.device)
    return (images + drawn * _each(deviation)).clamp_(0, 1)


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """``other`` where the factor is 0, ``images`` where it is 1, and beyond on the same line."""
    return torch.lerp(other.expand_as(images), images, _each(factor)).clamp_(0, 1)


def _each(values: Tensor) -> Tensor:
    """[N] to [N,1,1,1]."""
    return values.view(-1, 1, 1, 1)
