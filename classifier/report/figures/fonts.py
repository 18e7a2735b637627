"""Fonts for class names in any script: those of this system that have the letters."""

from functools import cache
from typing import NamedTuple

from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font

FIRST = "DejaVu Sans"  # Matplotlib brings it: Latin, Greek, Cyrillic, Arabic, Hebrew and more


class Fonts(NamedTuple):
    """Families to look for a letter in, in turn, and the letters that none of them has."""

    families: tuple[str, ...]
    missing: str


@cache
def fonts_for(text: str) -> Fonts:
    """The fewest families that have the letters of ``text``, `FIRST` before all others."""
    left = {letter for letter in text if letter.isprintable() and not letter.isspace()}
    left -= _letters(findfont(FIRST))
    families = [FIRST]
    while left:
        found, font = max(
            ((len(left & _letters(font.fname)), font) for font in _candidates()),
            key=lambda one: one[0],
            default=(0, None),
        )
        if not found or font is None:
            break
        families.append(font.name)
        left -= _letters(font.fname)
    return Fonts(tuple(families), "".join(sorted(left)))


def _candidates() -> list[FontEntry]:
    usable = (
        font
        for font in fontManager.ttflist
        # Matplotlib's last resort has a box for every letter.
        if font.style == "normal" and not font.name.startswith("Last Resort")
    )
    return sorted(usable, key=lambda font: (font.name, font.fname))


@cache
def _letters(path: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):  # of bitmaps, or damaged
        return frozenset()
