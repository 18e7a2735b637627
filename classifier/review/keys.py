"""The key of each class."""

from collections.abc import Sequence

MOST = 30  # classes that have keys; of more, the likeliest are offered, and the others by name
RESERVED = "xkunp"  # exclude, keep, undo, next, previous
_POOL = "1234567890" + "".join(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in RESERVED)


def class_keys(classes: Sequence[str]) -> list[str]:
    """One key a class, all different: a class that is called like a key has that one.

    The others take what is left, digits first. None where there are more than ``MOST`` classes.
    """
    if len(classes) > MOST:
        return []
    names = [name.lower() for name in classes]
    own = [name if name in tuple(_POOL) and names.count(name) == 1 else "" for name in names]
    free = iter([key for key in _POOL if key not in own])
    return [key or next(free) for key in own]
