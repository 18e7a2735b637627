"""The table of docs/scale.md is the one that its costs give."""

import pytest


def test_the_table_of_the_page_follows_from_the_costs() -> None:
    table = pytest.importorskip("benchmarks.scale_table")
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), (
        "run python -m benchmarks.scale_table --write"
    )
