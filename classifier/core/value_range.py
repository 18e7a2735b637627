"""What 0 and 255 stand for in images of more than 8 bits a channel, as files store it."""

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["integer", "float"]
Range = tuple[float, float]
Ranges = Mapping[Kind, Range]  # by kind: the values that become 0 and 255


def ranges_in(facts: Mapping[str, Any]) -> dict[Kind, Range]:
    """The ranges in the facts of a set or of a model, which are JSON; none for 8 bits."""
    found = facts.get("value_range", {})
    return {kind: (low, high) for kind, (low, high) in found.items()}
