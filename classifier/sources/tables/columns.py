"""What the columns of a table mean: where the label stands, and which column divides the set."""

from collections.abc import Set

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted
from classifier.sources.naming import folded, split_meant
from classifier.sources.tables.rows import Row, Table

AUTO = "auto"  # download.split_column: the column whose cells all name a split, if there is one
# A column of such a name is expected to divide the set: it is never passed over without a word.
_SPLIT_NAMES = frozenset({
    "split", "splits", "subset", "set", "dataset", "data set", "data_set", "partition", "fold",
    "phase", "usage",
})  # fmt: skip
_YES = frozenset({"1", "1.0", "true"})
_NO = frozenset({"0", "0.0", "false"})


def label_columns(
    table: Table, name: str, taken: Set[int | None], classes: tuple[str, ...], notes: list[str]
) -> list[int]:
    """The column called ``name``; else the one-hot columns; none if there are no labels.

    Columns are one-hot if they hold 0 and 1 alone, and there is no other beside them and those
    ``taken`` for something else; in further tables, if they are called as the ``classes`` are.
    """
    if table.places(name):
        return [table.column(name, "download.label_column")]
    others = [column for column in range(len(table.header)) if column not in taken]
    if classes:
        others = [column for column in others if table.header[column] in classes]
    if len(others) < max(2, len(classes)) or not {*others} <= flag_columns(table, taken):
        return []
    names = first((table.header[column] for column in others), shown=5)
    notes.append(f"{table.path}: the labels are read from the one-hot columns {names}")
    return others


def flag_columns(table: Table, taken: Set[int | None]) -> set[int]:
    """The columns beside those ``taken`` that hold 0 and 1 alone, or true and false."""
    found = {column for column in range(len(table.header)) if column not in taken}
    for row in table.rows():
        found -= {column for column in found if row.cell(column).lower() not in _YES | _NO}
    return found


def label(table: Table, row: Row, columns: list[int]) -> str:
    """The label of a row; empty if it has none.

    Raises:
        UserError: several one-hot columns are set.
    """
    if len(columns) < 2:
        return row.cell(columns[0]) if columns else ""
    found = [table.header[column] for column in columns if row.cell(column).lower() in _YES]
    if len(found) > 1:
        raise UserError(
            f"{table.path}: row {row.line} has more than one label in the one-hot columns "
            f"({first(found)}): keep the rows with one, or set download.label_column to a column "
            "of labels."
        )
    return "".join(found)


def split_column(
    table: Table, name: str | None, taken: Set[int | None], notes: list[str]
) -> int | None:
    """The column that divides the set: the one called ``name``; for AUTO the only one whose cells
    all name a split, training among them.

    Raises:
        UserError: there is no column of that name, or several that might be meant.
    """
    if name is None:
        return None
    if name != AUTO:
        return table.column(name, "download.split_column")
    meant: dict[int, set[str]] = {i: set() for i in range(len(table.header)) if i not in taken}
    for row in table.rows():
        for column in list(meant):
            meant[column].add(split_of(table, row, column))
            if "" in meant[column]:
                del meant[column]
    found = [column for column, splits in meant.items() if {"train"} < splits]
    names = [quoted(table.header[column]) for column in found]
    if len(found) > 1:
        raise UserError(
            f"{table.path} has several columns that divide it, {first(names)}: name one in "
            "download.split_column, or null for none."
        )
    if found:
        notes.append(
            f"{table.path}: column {names[0]} divides the set, as download.split_column is auto; "
            "null passes it over"
        )
        return found[0]
    passed = [
        quoted(table.header[i])
        for i in range(len(table.header))
        if i not in taken and folded(table.header[i]) in _SPLIT_NAMES and meant.get(i) != {"train"}
    ]
    if passed:
        notes.append(
            f"{table.path}: column {first(passed)} is passed over, since not all of its cells say "
            "train, val or test; if that is meant, set download.split_column: null"
        )
    return None


def split_of(table: Table, row: Row, column: int) -> str:
    """The split (train, val or test) that a row's cell names, or "".

    In a column called is_valid or is_test, 1 and true mean that split and 0 and false training.
    """
    cell = row.cell(column).lower()
    flag = folded(table.header[column])
    if flag.startswith("is_") and cell in _YES | _NO:
        other = split_meant(flag.removeprefix("is_"))
        return ("train" if cell in _NO else other) if other in ("val", "test") else ""
    return split_meant(cell)
