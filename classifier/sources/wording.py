"""Names of files and classes in sentences: few, short and on one line, whatever they are."""

from collections.abc import Iterable


def first(names: Iterable[str], shown: int = 3) -> str:
    """The first few names, for a sentence, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(map(short, names[:shown])) + more


def short(text: str, most: int = 200) -> str:
    """A text for a sentence: of bearable length, with control characters spelled out."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def quoted(text: str) -> str:
    """A text for a sentence, in quotation marks."""
    return f"'{short(text)}'"


def printable(text: str) -> str:
    """The text without line breaks and what a terminal would obey: these are written as escapes."""
    return text if text.isprintable() else repr(text)[1:-1]
