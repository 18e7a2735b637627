"""The table of corrections as a page writes it: at once, whole or not at all, and beside others."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path

from filelock import FileLock, Timeout

from classifier.core.csv_files import row_writer
from classifier.core.errors import UserError
from classifier.core.files import replacing
from classifier.splits.corrections import Correction, Corrections, read_corrections

PATIENCE = 10.0  # seconds for another process that writes the table
_Stamp = tuple[int, ...] | None  # of a file as it was read; None: there was none


class Decisions:
    """A table that other pages, and people with an editor, may change at the same time.

    Before each change it is read anew, under a lock, if it is not the file that was read last; then
    it is replaced by one that is on the disk already. Editors know of no lock: what one changes
    between that reading and the replacement is noticed, and the change is made again on top of it.
    An editor that writes over decisions which it had not read is found out at the next look: they
    are `lost`.
    """

    def __init__(self, path: Path, lock: Path) -> None:
        """Open the table at ``path``, which need not be there.

        Raises:
            UserError: it is no table of corrections.
        """
        self._path, self._lock = path, lock
        self._thread = threading.RLock()
        self._made: list[tuple[Correction | None, Correction]] = []  # before and after, latest last
        self._stamp: _Stamp = None
        self._rows: Corrections = {}
        self.rows()

    def rows(self) -> Corrections:
        """The corrections as they are now.

        Raises:
            UserError: somebody has made something else of the table.
        """
        with self._thread:
            if (stamp := self._stamped()) != self._stamp:
                self._rows, self._stamp = read_corrections(self._path), stamp
            return self._rows

    def lost(self) -> list[Correction]:
        """Decisions made here that somebody else has taken out of the table, not undone here."""
        with self._thread:
            latest = {after.id: after for _, after in self._made}
            return [after for name, after in latest.items() if name not in self.rows()]

    def put(self, image: str, action: str, label: str, reason: str) -> None:
        """Decide about an image, in the place of what was decided before.

        Raises:
            UserError: the table cannot be read or written; it is as it was.
        """
        after = Correction(image, action, label, reason, date.today().isoformat())
        before: Correction | None = None

        def change(rows: dict[str, Correction]) -> None:
            nonlocal before
            before = rows.get(image)
            rows[image] = after

        with self._thread:
            self._change(change)
            self._made.append((before, after))

    def undo(self) -> str | None:
        """Take back the latest decision that was made here; the image's id, None if there is none.

        Raises:
            UserError: somebody has decided otherwise since, which stays; or as `put`.
        """
        with self._thread:
            if not self._made:
                return None
            before, after = self._made.pop()

            def change(rows: dict[str, Correction]) -> None:
                if rows.get(after.id) != after:
                    raise _OtherwiseError(f"{after.id} was decided anew elsewhere, which stays.")
                if before:
                    rows[after.id] = before
                else:
                    del rows[after.id]

            try:
                self._change(change)
            except _OtherwiseError:
                raise
            except UserError:
                self._made.append((before, after))
                raise
            return after.id

    def restore(self) -> int:
        """Write `lost` decisions again: how many."""
        with self._thread:
            lost = self.lost()
            self._change(lambda rows: rows.update({one.id: one for one in lost}))
            return len(lost)

    def _change(self, change: Callable[[dict[str, Correction]], None]) -> None:
        try:
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._lock, timeout=PATIENCE):
                while True:
                    with suppress(_ChangedError):
                        return self._replace(change)
        except Timeout:
            raise UserError(
                f"{self._path} is being written by another process for {PATIENCE:.0f} s: nothing "
                "was changed."
            ) from None
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written ({error.strerror}): nothing was changed."
            ) from None

    def _replace(self, change: Callable[[dict[str, Correction]], None]) -> None:
        """Read, change and write; _ChangedError if somebody else was faster."""
        rows = dict(self.rows())
        before = self._stamp
        change(rows)
        with replacing(self._path) as temporary:
            with row_writer(temporary, Correction._fields) as write:
                # In the order of ids, so that Git merges what was decided on two branches.
                write(rows[name] for name in sorted(rows))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if self._stamped() != before:
                raise _ChangedError
        _keep_name(self._path.parent)
        self._rows, self._stamp = rows, self._stamped()

    def _stamped(self) -> _Stamp:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


class _ChangedError(Exception):
    """The table changed between its reading and its replacement."""


class _OtherwiseError(UserError):
    """What was to be undone is no longer so."""


def _keep_name(folder: Path) -> None:
    """Bring the folder's entry to the disk too, where the system lets one."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
