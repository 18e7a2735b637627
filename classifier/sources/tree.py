"""The files below download.path. What DVC would not watch is refused, or results would go stale."""

import os
from pathlib import Path

from classifier.core.errors import UserError
from classifier.sources.naming import is_hidden


def files_below(root: Path) -> dict[str, Path]:
    """All files below a folder that are not passed over by name, by their paths there.

    The folder itself and single files may be links, whose content DVC watches. It does not look
    behind links to folders below, nor into a DVC repository below.

    Raises:
        UserError: the folder does not exist or is a file, or there is something below it that
            cannot be read, or that DVC does not watch.
    """
    if not root.exists():
        raise UserError(f"download.path: the folder {root} does not exist.")
    if not root.is_dir():
        raise UserError(
            f"download.path: {root} is a file, not a folder: name the folder that holds one folder "
            "a class, or set download.source to archive or csv."
        )
    files: dict[str, Path] = {}
    folders = [("", root)]
    while folders:
        prefix, folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise UserError(
                f"download.path: the folder {folder} cannot be read ({error.strerror or error})."
            ) from None
        for entry in entries:
            path = Path(entry.path)
            if entry.name == ".dvc" and prefix and entry.is_dir():
                raise UserError(
                    f"download.path: {folder} is a DVC repository of its own, into which DVC does "
                    "not look from outside: set download.path to it, or move its images elsewhere."
                )
            if is_hidden(entry.name):
                continue
            if entry.is_file() or not path.exists():  # a dead link is told when it is read
                files[prefix + entry.name] = path
            elif not entry.is_dir():
                raise UserError(f"download.path: {path} is a pipe, socket or device: remove it.")
            elif entry.is_symlink():
                raise UserError(
                    f"download.path: {path} is a link to a folder, which DVC does not follow, so "
                    "it would not notice changes behind it: put the folder itself there, or a copy "
                    "(on one disk, cp -al makes one that takes no space)."
                )
            else:
                folders.append((f"{prefix}{entry.name}/", path))
    return files


def empty_folders(root: Path) -> list[str]:
    """The folders below one that hold neither files nor folders, by their paths there."""
    return [
        Path(folder).relative_to(root).as_posix()
        for folder, folders, files in os.walk(root)
        if not folders
        and not any(not is_hidden(name) for name in files)
        and not any(map(is_hidden, Path(folder).relative_to(root).parts))
    ]
