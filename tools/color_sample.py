"""data/sample: sixty color pictures of three classes, to try "your own images" with.

python -m tools.color_sample           say whether the pictures are those that this draws
python -m tools.color_sample --write   draw them

A fish, a house or a tree, at any place, in any color, before any background: what is alike within
a class is the shape alone.
"""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from classifier.core.types import UInt8Array
from tools import ROOT

FOLDER = ROOT / "data" / "sample"
EACH = 20  # pictures of a class
SIDE = 128  # pixels of the shorter side; the longer one is up to a half more
FINER = 3  # times finer than the picture, so that edges are smooth

Points = list[tuple[float, float]]


def picture(name: str, number: int) -> Image.Image:
    """The picture of a class with a number: always the same."""
    random = np.random.default_rng([list(SHAPES).index(name), number])
    width, height = (SIDE + int(random.integers(0, SIDE // 2)), SIDE)
    if random.random() < 0.3:
        width, height = height, width
    image = Image.fromarray(_background(random, width, height))
    image = image.resize((FINER * width, FINER * height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    size = FINER * SIDE * random.uniform(0.25, 0.42)
    center = (image.width * random.uniform(0.35, 0.65), image.height * random.uniform(0.4, 0.6))
    angle = random.normal(0, 0.15)
    for points, color in SHAPES[name](random):
        draw.polygon(_placed(points, center, size, angle), fill=color)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))
    pixels = np.asarray(image, np.float64) * random.uniform(0.7, 1.15)
    pixels += random.normal(0, random.uniform(2, 9), pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _background(random: np.random.Generator, width: int, height: int) -> UInt8Array:
    """Soft clouds of a few colors."""
    coarse = random.integers(30, 226, (int(random.integers(2, 6)), int(random.integers(2, 6)), 3))
    clouds = Image.fromarray(coarse.astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.asarray(clouds)


def _placed(points: Points, center: tuple[float, float], size: float, angle: float) -> Points:
    cosine, sine = math.cos(angle), math.sin(angle)
    return [
        (center[0] + size * (x * cosine - y * sine), center[1] + size * (x * sine + y * cosine))
        for x, y in points
    ]


def _colors(random: np.random.Generator, count: int) -> list[tuple[int, int, int]]:
    return [tuple(int(v) for v in random.integers(0, 256, 3)) for _ in range(count)]  # type: ignore[misc]


def _ellipse(x: float, y: float, across: float, down: float) -> Points:
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


Parts = list[tuple[Points, tuple[int, int, int]]]


def _fish(random: np.random.Generator) -> Parts:
    body, tail, fin, eye = _colors(random, 4)
    way = 1 if random.random() < 0.5 else -1
    fat = random.uniform(0.3, 0.55)
    return [
        ([(-0.6 * way, 0), (-1.1 * way, -0.45), (-0.95 * way, 0), (-1.1 * way, 0.45)], tail),
        (_ellipse(0, 0, 0.75, fat), body),
        ([(-0.2 * way, -fat * 0.7), (0.1 * way, -fat - 0.35), (0.3 * way, -fat * 0.7)], fin),
        (_ellipse(0.5 * way, -fat * 0.2, 0.07, 0.07), eye),
    ]


def _house(random: np.random.Generator) -> Parts:
    wall, roof, door, window = _colors(random, 4)
    half, top = random.uniform(0.5, 0.8), random.uniform(-0.9, -0.6)
    parts: Parts = [
        (_box(-half, -0.2, half, 0.75), wall),
        ([(-half - 0.15, -0.2), (0, top), (half + 0.15, -0.2)], roof),
        (_box(-0.12, 0.3, 0.12, 0.75), door),
    ]
    for x in (-half * 0.62, half * 0.62):
        parts.append((_box(x - 0.13, 0, x + 0.13, 0.26), window))
    return parts


def _tree(random: np.random.Generator) -> Parts:
    trunk, leaves, others = _colors(random, 3)
    parts: Parts = [(_box(-0.1, 0.1, 0.1, 0.95), trunk)]
    if random.random() < 0.5:
        for y, half in ((0.45, 0.65), (0.05, 0.5), (-0.35, 0.35)):
            parts.append(([(-half, y), (0, y - 0.65), (half, y)], leaves))
        return parts
    for _ in range(5):
        x, y = random.uniform(-0.35, 0.35), random.uniform(-0.65, -0.05)
        parts.append((_ellipse(x, y, 0.4, 0.35), leaves if random.random() < 0.7 else others))
    return parts


SHAPES: dict[str, Callable[[np.random.Generator], Parts]] = {
    "fish": _fish,
    "house": _house,
    "tree": _tree,
}


def pictures() -> Iterator[tuple[Path, Image.Image]]:
    """Every picture, and its file below FOLDER."""
    for name in SHAPES:
        for number in range(EACH):
            yield Path(name, f"{number:02d}.jpg"), picture(name, number)


def main(write: bool) -> int:
    """Draw the pictures, or say whether they are drawn. Returns the exit status."""
    for name, image in pictures():
        path = FOLDER / name
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, quality=80)
        elif not path.exists():
            print(f"{path} is missing: run python -m tools.color_sample --write")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
