"""DVC's commands, as our own commands run them; and what a killed one of them left, put right."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError
from classifier.core.files import read_json, replacing
from classifier.core.git import git, git_or_none
from classifier.core.params import PARAMS_FILE, flatten, read_text
from classifier.core.process import PUTS_BACK, alive, end_group, heed_interrupts, identity
from classifier.experiments.lock_file import mend_lock

# A file for each experiment that runs: whose it is, and what the workspace was before.
RECORDS = Path(".run/experiments")


def dvc(
    *arguments: str, root: Path = Path(), quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a DVC command; ``quiet`` collects its output (errors among it) instead of showing it.

    What an earlier one left that was killed is put right first, see `mend`. Where this process is
    interrupted, DVC and its stages are too, and have left when the interrupt goes on.
    """
    mend(root)
    return _finished(_started(arguments, root, quiet))


def experiment(name: str, *options: str, root: Path = Path()) -> int:
    """Run `dvc exp run` under a name, in the workspace or with --temp; returns its exit status.

    In the workspace DVC writes the changed parameters to params.yaml, and detaches HEAD as long as
    it runs. Where it fails or is interrupted params.yaml is put back; where it is killed, `mend`
    sees to HEAD.

    Raises:
        UserError: one that was started so goes on.
    """
    wait_for_none(name, root)
    record = root / RECORDS / f"{name}.json"
    before: dict[str, Any] = {"branch": "", "params": None}
    if "--temp" not in options:
        branch = git_or_none(root, "symbolic-ref", "--quiet", "HEAD") or ""
        text = (root / PARAMS_FILE).read_text(encoding="utf-8")
        before = {"branch": branch.strip(), "params": text}
    _record(record, before, [identity(os.getpid())])
    status = None
    try:
        process = _started(("exp", "run", "-n", name, *options), root)
        _record(record, before, [identity(os.getpid()), identity(process.pid)])
        status = _finished(process).returncode
    finally:
        if status != 0 and before["params"] is not None:
            _put_back(before["params"], root)
        record.unlink(missing_ok=True)
    return status


def wait_for_none(name: str, root: Path) -> None:
    """Refuse to run an experiment beside one of its name, or one that has changed params.yaml.

    Raises:
        UserError: one of them goes on, perhaps of a command that was killed.
    """
    mend(root)
    for record in (root / RECORDS).glob("*.json"):
        if record.stem == name or read_json(record)["params"] is not None:
            raise UserError(f"experiment {record.stem!r} is being run: wait for it.")


def mend(root: Path) -> None:
    """Put right what DVC leaves when it is killed, and say so.

    That is a dvc.lock or params.yaml that was cut off, HEAD detached, and temporary folders.
    """
    done = [mend_lock(root)]
    done += [_mend_after(record, root) for record in (root / RECORDS).glob("*.json")]
    for sentence in filter(None, done):
        print(f"warning: {sentence}.", file=sys.stderr)


def _mend_after(record: Path, root: Path) -> str | None:
    """Put right what the experiment of a record left, if it was killed."""
    before = read_json(record)
    if any(alive(process) for process in before["processes"]):
        return None
    done = []
    branch, params = before["branch"], before["params"]
    detached = branch and git_or_none(root, "symbolic-ref", "--quiet", "HEAD") is None
    # Elsewhere it is where the user has gone since.
    if detached and git_or_none(root, "merge-base", "--is-ancestor", branch, "HEAD") is not None:
        git(root, "symbolic-ref", "HEAD", branch)
        done.append(f"HEAD is on {branch.removeprefix('refs/heads/')} again")
    if params is not None and _is_cut(root / PARAMS_FILE, params):
        _put_back(params, root)
        done.append(f"{PARAMS_FILE} is again what it was before")
    remove_temporary(record.stem, root)
    record.unlink()
    return f"experiment {record.stem} was killed: {' and '.join(done)}" if done else None


def _is_cut(path: Path, before: str) -> bool:
    """Whether DVC was killed as it wrote params.yaml: it never takes a key out."""
    try:
        text = path.read_text(encoding="utf-8")
        keys = flatten(read_text(text, path)).keys()
    except (UnicodeDecodeError, UserError):
        return True
    return not text.endswith("\n") or not keys >= flatten(read_text(before, path)).keys()


def remove_temporary(name: str, root: Path) -> None:
    """Remove the folders in which `dvc exp run --temp` ran an experiment of this name.

    DVC itself does so, unless it is killed.
    """
    for info in (root / ".dvc/tmp/exps/run").glob("*/*.run"):
        with suppress(OSError, ValueError):
            facts = read_json(info)
            if facts["name"] == name and facts["location"] == "tempdir":
                shutil.rmtree(facts["root_dir"], ignore_errors=True)
                shutil.rmtree(info.parent)


def _put_back(params: str, root: Path) -> None:
    _write(root / PARAMS_FILE, params)
    # DVC has staged its own, and with that would run no other experiment.
    git_or_none(root, "reset", "--quiet", "--", str(PARAMS_FILE))


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _record(path: Path, before: dict[str, Any], processes: list[list[float]]) -> None:
    _write(path, json.dumps(before | {"processes": processes}))


def _started(
    arguments: tuple[str, ...], root: Path, quiet: bool = False
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # DVC alone ignores an interrupt until its stage ends
        preexec_fn=None if os.name == "nt" else heed_interrupts,
    )


def _finished(process: "subprocess.Popen[str]") -> subprocess.CompletedProcess[str]:
    try:
        output, _ = process.communicate()
    except BaseException:
        end_group(process.pid, process)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def environment() -> dict[str, str]:
    """The environment for DVC: stages call `python`, and that has to be this one.

    They are told that params.yaml is put back after a failure.
    """
    folder = str(Path(sys.executable).parent)
    path = folder + os.pathsep + os.environ.get("PATH", "")
    return {**os.environ, "PATH": path, PUTS_BACK: "1"}
