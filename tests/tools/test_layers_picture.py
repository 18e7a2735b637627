"""docs/layers.svg shows the layers that are checked."""

from tools.layers_picture import PICTURE, draw


def test_the_picture_is_true() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), (
        "run python -m tools.layers_picture --write"
    )
