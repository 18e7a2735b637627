"""The table of docs/scale.md is the one that its costs give."""

from benchmarks.scale_table import PAGE, page


def test_the_table_of_the_page_follows_from_the_costs() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run python -m benchmarks.scale_table --write"
    )
