"""A dvc.lock that was cut off, put right.

DVC writes dvc.lock in place, so a kill in that moment, or a full disk, leaves the beginning of it,
which every later `dvc repro` refuses. Nothing is lost: the file says only what has run, and DVC's
run cache brings the results of these runs back.
"""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from classifier.core.files import replacing
from classifier.core.git import git_or_none

LOCK = "dvc.lock"


def mend_lock(root: Path) -> str | None:
    """Restore a damaged dvc.lock from the last commit, or remove it where that has no whole one.

    Returns:
        A sentence that says what was done; None where the file is whole or missing.
    """
    path = root / LOCK
    if not path.is_file() or is_whole(path.read_bytes()):
        return None
    # `./` names the file beside us, wherever in the repository the project is.
    committed = git_or_none(root, "show", f"HEAD:./{LOCK}")
    if committed is not None and is_whole(committed.encode()):
        with replacing(path) as temporary:
            temporary.write_text(committed, encoding="utf-8", newline="")
        done = "it is again that of the last commit"
    else:
        path.unlink()
        done = "it is removed"
    return (
        f"{LOCK} was cut off, by a kill or a full disk: {done}, and DVC's run cache brings the "
        "results of later runs back"
    )


def is_whole(content: bytes) -> bool:
    """Whether this is a dvc.lock that DVC would read."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(content.decode()))
    except (Invalid, UnicodeDecodeError, YAMLError):
        return False
    return content.endswith(b"\n")  # a number that lost its end would still be one
