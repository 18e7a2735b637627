"""Outputs appear whole or not at all."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifier.core.arrays import write_arrays
from classifier.core.files import replacing, write_json


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
