"""The files that the rows of tables name: each is there, and no two rows name the same one."""

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted, short
from classifier.sources import lookup
from classifier.sources.naming import folded
from classifier.sources.source_index import Files, Span


class _Use(NamedTuple):
    """Where a file was named first."""

    table: Path
    line: int
    name: str


class RowFiles:
    """Finds the files of one table after the other.

    Args:
        files: the files of the source by their paths below its root.
        root: the root.
        notes: is given a sentence on names that are not quite those of their files.
    """

    def __init__(self, files: Files, root: Path, notes: list[str]) -> None:
        self._files, self._root, self._notes = files, root, notes
        self._lookup = lookup.among(files)
        self._uses: dict[str, _Use] = {}

    def has(self, folder: str, name: str) -> bool:
        """Whether a name, seen from a folder below the root, is a file's."""
        return bool(self._lookup.find(folder, name).path)

    def find(
        self, table: Path, names: Iterable[tuple[int, str]], folder: str, setting: str
    ) -> list[Path | Span]:
        """The files that a table names.

        Args:
            table: what to call the table in messages.
            names: the number and the file name of each row.
            folder: below the root, that the names start from.
            setting: the parameter that changes it.

        Raises:
            UserError: a file is missing, lies outside of the root, is named twice, or a name fits
                several files.
        """
        paths: list[str] = []
        missing: list[str] = []
        twice: list[str] = []
        unlike: dict[str, list[str]] = {}
        for line, name in names:
            match = self._lookup.find(*self._inside(table, line, folder, name))
            if match.problem == lookup.ABSENT:
                missing.append(name)
            elif match.problem:
                raise UserError(f"{table}: row {line}: {short(name)} {match.problem}.")
            else:
                paths.append(match.path)
                use = self._uses.setdefault(match.path, _Use(table, line, name))
                if use.table != table:
                    raise UserError(
                        f"{table}: row {line} names {short(name)}, an image that row {use.line} "
                        f"of {use.table} names too: remove one of the rows."
                    )
                if use.line != line:
                    other = f" and {quoted(name)}" if name != use.name else ""
                    twice.append(f"{quoted(use.name)}{other} in rows {use.line} and {line}")
            if match.difference:
                unlike.setdefault(match.difference, []).append(f"{name} is {match.path}")
        if missing:
            count = len(missing) + len(paths)
            raise UserError(
                f"{table}: {len(missing):,} of {count:,} rows name a file that is not in "
                f"{self._root / folder} ({first(missing)}{self._elsewhere(missing[0])}): add the "
                f"files, remove the rows, or set {setting}."
            )
        if twice:
            raise UserError(
                f"{table}: the file names have duplicates, {first(twice)}: keep one row each."
            )
        self._notes += [
            f"{table}: names and files differ in {difference} ({first(pairs, shown=1)})"
            for difference, pairs in unlike.items()
        ]
        return [self._files[path] for path in paths]

    def _inside(self, table: Path, line: int, folder: str, name: str) -> tuple[str, str]:
        """A folder below the root and a name in it; names that lead in from outside are bent."""
        path = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
        if not path.startswith(("/", "..")):
            return folder, name
        for root in (self._root.absolute(), self._root.resolve()):
            below = Path(os.path.relpath(root / path, root)).as_posix()
            if not below.startswith(".."):
                return "", below
        if path.startswith("/") and not Path(path).exists():
            raise UserError(f"{table}: row {line}: {short(name)} {lookup.FOREIGN}.")
        raise UserError(
            f"{table}: row {line} names {short(name)}, which is outside {self._root}, where DVC "
            "would not track it: set download.path to a folder that holds both."
        )

    def _elsewhere(self, name: str) -> str:
        wanted = "/" + folded(posixpath.basename(name.replace("\\", "/")))
        found = [path for path in self._files if folded(f"/{path}").endswith(wanted)]
        return f"; there is {first(found, shown=1)}" if found else ""
