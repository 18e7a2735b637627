"""Names and times in sentences: names few, short and on one line, whatever they are.

Names come from strangers: they may hold line breaks, which forge lines of a log, and what a
terminal obeys instead of showing it. Whatever is printed with names in it goes through `printable`.
"""

import sys
from collections.abc import Iterable

LONGEST = 800  # characters of a sentence


def first(names: Iterable[str], shown: int = 3) -> str:
    """The first few names, for a sentence, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(map(short, names[:shown])) + more


def short(text: str, most: int = 200) -> str:
    """A text for a sentence: printable, and of bearable length."""
    text = printable(text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(text: str) -> str:
    """A text for a sentence, in quotation marks."""
    return f"'{short(text)}'"


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun: counted(1, "batch", "batches") is "1 batch"."""
    return f"{number:,} {one if number == 1 else many}"


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def warn(sentence: str) -> None:
    """Tell the user, on stderr and on one line; the sentence comes without its period."""
    print(f"warning: {short(sentence, LONGEST)}.", file=sys.stderr)


def printable(text: str) -> str:
    r"""The text on one line, with nothing in it that a terminal obeys; the same if done twice.

    What is not printed is written as Python writes it: line breaks and other control characters
    (\n, \x1b, \x9b), what turns the direction of writing or is not seen (\u202e, \u200b), blanks
    other than the usual one, and bytes of file names that are no text (\udcff).
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
