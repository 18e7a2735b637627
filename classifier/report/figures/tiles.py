"""Images with captions: tiles, and the sheets that lay them out.

A tile is one image or a strip of a few that belong together. The sheets are PNG files of their
own; the report lays the same tiles out by itself, so that captions reflow on a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from classifier.report.figures import style

Tone = Literal["plain", "right", "wrong"]

GAP = 2  # pixels between the images of a strip, at the strip's own scale


@dataclass(frozen=True)
class Tile:
    """uint8 images [H, W, C] of one shape, a caption, a second line, and right or wrong.

    ``places`` is how many images the strip has room for; what is missing stays empty.
    """

    images: Sequence[np.ndarray]
    caption: str = ""
    note: str = ""
    tone: Tone = "plain"
    places: int = 1

    def strip(self, side: int) -> np.ndarray:
        """Return the images in a row, each about ``side`` pixels: uint8 [h, w, 4].

        The gaps between them are transparent.
        """
        parts = [scaled(image, side) for image in self.images]
        height, width = parts[0].shape[:2]
        number = max(self.places, len(parts))
        row = np.zeros((height, number * (width + GAP) - GAP, 4), dtype=np.uint8)
        for place, part in enumerate(parts):
            left = place * (width + GAP)
            row[:, left : left + width, :3] = part
            row[:, left : left + width, 3] = 255
        return row


def color(image: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W, 3] of a uint8 image [H, W], [H, W, 1] or [H, W, 3]."""
    if image.ndim == 2:
        image = image[:, :, None]
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]


def scaled(image: np.ndarray, side: int) -> np.ndarray:
    """Bring an image to about ``side`` pixels: tiny ones by whole factors, large ones averaged.

    Whole factors keep the pixels of an 8x8 image square and sharp.
    """
    image = color(image)
    longest = max(image.shape[:2])
    if longest <= side:
        factor = max(1, round(side / longest))
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (max(1, round(edge * side / longest)) for edge in image.shape[:2])
    smaller = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(smaller)


def heat(image: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Lay a map of evidence, float [H, W] in 0..1, over a uint8 image [H, W, C].

    Where there is no evidence the image is shown dimmed, where there is much in full light under
    a warm color, so that what the network looked at can still be recognized.
    """
    from matplotlib import colormaps

    base = color(image).astype(np.float32) / 255
    warm = colormaps["inferno"](np.clip(strength, 0, 1))[..., :3].astype(np.float32)
    weight = 0.65 * np.clip(strength, 0, 1)[..., None]
    mixed = base * (0.75 - 0.3 * weight) * (1 - weight) + warm * weight + base * 0.1
    return (np.clip(mixed, 0, 1) * 255).round().astype(np.uint8)


def shaded(values: np.ndarray) -> np.ndarray:
    """Show one map of numbers [h, w] in cividis, dark lowest and light highest: uint8 [h, w, 3]."""
    from matplotlib import colormaps

    low, high = float(values.min()), float(values.max())
    span = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return (colormaps["cividis"](span)[..., :3] * 255).round().astype(np.uint8)


def sheet(tiles: Sequence[Tile], side: int, columns: int | None = None) -> Figure:
    """Lay tiles out in a grid, images of about ``side`` pixels, their captions below them.

    Everything is placed in pixels, so that a pixel of a tile is a whole number of pixels of the
    figure and stays sharp.
    """
    strips = [tile.strip(side) for tile in tiles]
    tallest = max(strip.shape[0] for strip in strips)
    widest = max(strip.shape[1] for strip in strips)
    lines = any(tile.caption for tile in tiles) + any(tile.note for tile in tiles)
    line, gap, edge = 24, 22, 16  # pixels
    cell_width, cell_height = max(widest, 140) + gap, tallest + lines * line + gap
    columns = columns or max(1, min(len(tiles), 1300 // cell_width))
    rows = -(-len(tiles) // columns)
    width, height = columns * cell_width - gap + 2 * edge, rows * cell_height - gap + 2 * edge
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    figure = style.new_figure(width / style.DPI, height / style.DPI)
    figure.set_layout_engine("none")
    letters = max(6, int((cell_width - 6) / 10.4))  # about the width of a letter at 8 points
    tones = {"plain": style.INK, "right": style.RIGHT, "wrong": style.WRONG}
    for number, (tile, strip) in enumerate(zip(tiles, strips, strict=True)):
        row, column = divmod(number, columns)
        left, top = edge + column * cell_width, edge + row * cell_height
        tall, wide = strip.shape[:2]
        canvas[top : top + tall, left : left + wide] = np.where(strip[..., 3:], strip[..., :3], 255)
        for place, text in enumerate((tile.caption, tile.note)):
            if text:
                figure.text(
                    left / width,
                    1 - (top + tall + place * line + 3) / height,
                    _fitted(text, letters),
                    ha="left",
                    va="top",
                    fontsize=8,
                    color=style.GRAY if place else tones[tile.tone],
                )
    figure.figimage(canvas, 0, 0, origin="upper")
    return figure


def _fitted(caption: str, letters: int) -> str:
    """Cut the class's name rather than the figure behind it: "automob… · 91 %"."""
    caption = caption.replace("\N{NO-BREAK SPACE}", " ")  # a sheet breaks no line
    name, mark, figure = caption.rpartition(" · ")
    if not mark:
        return style.shorten(caption, letters)
    return style.shorten(name, max(2, letters - len(mark + figure))) + mark + figure


def percent(fraction: float) -> str:
    """Write a probability for a caption: more digits where it is nearly sure."""
    value = 100 * fraction
    # A mistake at 99.97 % must not read as one at 100 %.
    text = ">99.9" if value >= 99.95 else f"{value:.1f}" if value > 99 else f"{value:.0f}"
    return f"{text}\N{NO-BREAK SPACE}%"
