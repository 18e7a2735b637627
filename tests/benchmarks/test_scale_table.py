"""The table of docs/scale.md is the one that its costs give."""

from benchmarks import scale_table


def test_the_table_of_the_page_follows_from_the_costs() -> None:
    assert scale_table.PAGE.read_text(encoding="utf-8") == scale_table.page(), (
        "run python -m benchmarks.scale_table --write"
    )
