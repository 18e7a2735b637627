"""Fonts for class names in any script: those of this system that have the letters."""

import logging
from functools import cache
from typing import NamedTuple

from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font

FIRST = "DejaVu Sans"  # Matplotlib brings it: Latin, Greek, Cyrillic, Arabic, Hebrew and more

# A family without a bold or a normal weight is drawn in the one that it has: nobody need know.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


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
        # The file that Matplotlib takes for a family counts, not all that the family has.
        best = max(
            _families(), key=lambda name: len(left & _letters(findfont(name))), default=FIRST
        )
        if not left & _letters(findfont(best)):
            break
        families.append(best)
        left -= _letters(findfont(best))
    return Fonts(tuple(families), "".join(sorted(left)))


def _families() -> list[str]:
    # Matplotlib's last resort has a box for every letter.
    names = {font.name for font in fontManager.ttflist if font.style == "normal"}
    return sorted(name for name in names if not name.startswith("Last Resort"))


@cache
def _letters(path: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):  # of bitmaps, or damaged
        return frozenset()
