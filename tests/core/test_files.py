"""Outputs appear whole or not at all."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier.core.arrays import read_array, read_arrays, write_arrays
from classifier.core.csv_files import read_table, write_table
from classifier.core.errors import UserError
from classifier.core.files import read_json, replacing, write_json


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old", encoding="utf-8")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_a_full_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "stale").touch()
    with replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "fresh").touch()
    assert [path.name for path in target.iterdir()] == ["fresh"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_goes_with_the_next_run(tmp_path: Path) -> None:
    target = tmp_path / "out"
    code = (
        "import os, sys; from pathlib import Path; from classifier.core.files import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.mkdir(); (temporary / 'half').touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    left, *others = tmp_path.iterdir()
    assert left.name.endswith(".partial")
    assert not others
    # One of a process that runs, and one of another machine.
    theirs = [
        left.with_name(f".out.{platform.node()}.{os.getppid()}.partial"),
        left.with_name(".out.elsewhere.1.partial"),
    ]
    for other in theirs:
        other.touch()
    with replacing(target) as temporary:
        temporary.write_text("whole", encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == sorted([target, *theirs])


def test_what_a_killed_writer_within_a_writer_left_goes_with_the_next_run(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    code = (
        "import os, sys; from classifier.core.files import replacing\n"
        "with replacing(sys.argv[1]) as outer, replacing(outer) as inner:\n"
        "    inner.touch(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    [left] = tmp_path.iterdir()
    assert left.name.startswith("..table.csv.")
    with replacing(target) as temporary:
        temporary.touch()
    assert list(tmp_path.iterdir()) == [target]


def test_a_kill_while_an_old_folder_is_removed_leaves_the_whole_new_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    for name in "ab":
        (target / name).write_text("old", encoding="utf-8")
    code = (
        "import os, shutil, sys; from pathlib import Path\n"
        "from classifier.core.files import replacing\n"
        "def killed(path):\n"
        "    next(Path(path).iterdir()).unlink(); os._exit(9)\n"
        "shutil.rmtree = killed\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.mkdir()\n"
        "    for name in 'ab': (temporary / name).write_text('new')"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert sorted((path.name, path.read_text()) for path in target.iterdir()) == [
        ("a", "new"),
        ("b", "new"),
    ]
    with replacing(target) as temporary:
        temporary.mkdir()
    assert list(tmp_path.iterdir()) == [target], "the rest of the old one goes with the next run"


def damage(path: Path, how: str) -> None:
    """Put something in the place of a file that is not what was there."""
    content = path.read_bytes()
    path.unlink()
    match how:
        case "empty":
            path.touch()
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "junk":
            path.write_bytes(np.random.default_rng(0).bytes(500))
        case "folder":
            path.mkdir()


@pytest.mark.parametrize("how", ["gone", "empty", "half", "junk", "folder"])
def test_what_a_stage_made_is_read_whole_or_refused(tmp_path: Path, how: str) -> None:
    write_json(tmp_path / "a.json", {"a": [1, 2, 3]})
    np.save(tmp_path / "a.npy", np.arange(100))
    write_arrays(tmp_path / "a.npz", {"a": np.arange(100)})
    write_table(tmp_path / "a.csv", {"id": ["x"] * 20, "row": range(20)})
    readers: dict[str, Callable[[Path], object]] = {
        "json": lambda path: read_json(path, "train"),
        "npy": lambda path: read_array(path, "train"),
        "npz": lambda path: read_arrays(path, "train"),
        "csv": lambda path: read_table(path, "train", {"id": str, "row": int, "end": int}),
    }
    mapped = tmp_path / "mapped.npy"
    mapped.write_bytes((tmp_path / "a.npy").read_bytes())
    state = "missing" if how == "gone" else "damaged.*"
    for ending, read in readers.items():
        path = tmp_path / f"a.{ending}"
        damage(path, how)
        with pytest.raises(UserError, match=rf"a\.{ending} is {state}: run dvc repro train\.$"):
            read(path)
    damage(mapped, how)
    with pytest.raises(UserError, match=rf"mapped\.npy is {state}: run dvc repro train\.$"):
        read_array(mapped, "train", mapped=True)


def test_json_has_stable_bytes_and_is_always_valid(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"b": 1 / 3, "a": [float("nan"), 1e-9 / 3], "c": {"z": 1, "y": "é"}})
    assert path.read_text(encoding="utf-8").index('"a"') < path.read_text("utf-8").index('"b"')
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "a": [None, 3.33333e-10],
        "b": 0.333333,
        "c": {"y": "é", "z": 1},
    }


def test_an_archive_of_arrays_has_the_same_bytes_on_every_python(tmp_path: Path) -> None:
    numbers = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_arrays(tmp_path / "a.npz", {"a": numbers, "b": np.array(["x", "yz"])})
    digest = hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    assert digest == "c02fb0628b5c54b0a9b50f188dec9aab60251daf61b292271ccd4d402c8dc7a0"
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert loaded["a"].tolist() == numbers.tolist()
        assert loaded["b"].tolist() == ["x", "yz"]
