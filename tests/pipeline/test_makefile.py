"""What `make` promises beyond the commands it runs."""

from pathlib import Path

from tests.support import workspace

LEFT_BEHIND = (
    "data/raw/shard.tar",
    "data/splits/split.csv",
    "data/prepared/train.npy",
    "data/predictions/predictions.csv",
    "models/model.safetensors",
    "models/model.onnx",
    "metrics/figures/confusion.png",
    "metrics/live/metrics.json",
    "metrics/report.html",
    "runs/resume/state.pt",
    "classifier/__pycache__/cli.pyc",
)
KEPT = ("data/images/cat/1.png", "models/notes.txt", "models/pretrained/timm/a.safetensors")


def test_clean_removes_what_runs_leave_behind_and_nothing_else(tmp_path: Path) -> None:
    place = workspace.fresh(tmp_path / "project")
    place.run("make", "clean")
    assert place.run("git", "status", "--porcelain").stdout == "", "of a fresh clone"
    for name in LEFT_BEHIND + KEPT:
        (place.path / name).parent.mkdir(parents=True, exist_ok=True)
        (place.path / name).write_bytes(b"x")
    place.run("make", "clean")
    assert [name for name in LEFT_BEHIND if (place.path / name).exists()] == []
    assert [name for name in KEPT if not (place.path / name).exists()] == []
    assert place.run("git", "status", "--porcelain").stdout == "?? models/notes.txt\n"
