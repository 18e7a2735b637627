"""Large images within a limit of memory, which the kernel enforces on what a process allocates.

The limit is of data (RLIMIT_DATA): pages of the mapped arrays do not count, as the kernel drops
those when it needs room.
"""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.format import open_memmap

from classifier.core.files import write_json
from tests.pipeline.test_resume import ONE_THREAD
from tests.support import workspace
from tests.support.workspace import environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limit of data")

IMPORTS = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from classifier.training import transfer
from classifier.evaluation.evaluate import evaluate
from classifier.evaluation.embedding import principal_plane
from classifier.core.resize import Resize
from classifier.models.spec import ModelSpec
from classifier.models.registry import ModelParams, build
from classifier.dataset.prepared import PreparedData
from classifier.metrics.scoring import EvaluateParams

def allow(megabytes):
    status = Path("/proc/self/status").read_text()
    limit = int(status.split("VmData:")[1].split()[0]) * 1024 + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

def made(name, side, **args):
    spec = ModelSpec(name, args, ("a", "b"), 3, side, Resize(), (0.5,) * 3, (0.25,) * 3)
    torch.manual_seed(0)
    return build(name, args, classes=2, channels=3, image_size=side), spec
"""


def limited(code: str, *arguments: object, megabytes: int) -> None:
    """Run code in a Python of its own that may allocate so much beyond its imports."""
    script = f"{IMPORTS}\nallow({megabytes})\n{code}"
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    finished = subprocess.run(
        command, env=environment() | ONE_THREAD, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-2000:]


def black(path: Path, count: int, side: int) -> Path:
    """An array of black images in a file with holes, which takes no disk."""
    open_memmap(path, "w+", np.uint8, (count, side, side, 3)).flush()
    return path


def black_set(folder: Path, side: int, **counts: int) -> Path:
    """Prepared data of black images with labels by turns."""
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "row", "label", "width", "height"])
        for split, count in counts.items():
            black(folder / f"{split}.npy", count, side)
            np.save(folder / f"{split}_labels.npy", np.arange(count) % 2)
            writer.writerows(
                [f"{split}{n}", split, n, "ab"[n % 2], side, side] for n in range(count)
            )
    meta = {
        "classes": ["a", "b"],
        "channels": 3,
        "image_size": side,
        "resize": "squash",
        "normalize": "unit",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "counts": counts,
    }
    write_json(folder / "meta.json", meta)
    return folder


def test_the_limit_is_one(tmp_path: Path) -> None:
    code = "torch.ones(50 << 18)\nPath(sys.argv[1]).touch()\ntorch.ones(150 << 18)"
    with pytest.raises(AssertionError, match="allocate memory"):
        limited(code, tmp_path / "within", megabytes=100)
    assert (tmp_path / "within").exists()


def test_a_network_that_fits_nothing_reads_nothing(tmp_path: Path) -> None:
    code = """
network, spec = made("cnn", 512, filters=(2,))
images = np.load(sys.argv[1], mmap_mode="r")
transfer.fit_weights(network, ModelParams("cnn"), spec, images)
"""
    limited(code, black(tmp_path / "train.npy", 2000, 512), megabytes=200)


def test_patches_are_whitened_a_part_at_a_time(tmp_path: Path) -> None:
    """All patches of so many images of this size are 1.5 GB."""
    code = """
network, spec = made("fast", 128, widths=(8,))
images = np.load(sys.argv[1], mmap_mode="r")
transfer.fit_weights(network, ModelParams("fast"), spec, images)
"""
    limited(code, black(tmp_path / "train.npy", 1000, 128), megabytes=800)


def test_logits_take_no_more_memory_however_many_images(tmp_path: Path) -> None:
    """Small blocks that stay between the maps would let the heap grow by 4 MB a batch."""
    code = """
from classifier.dataset.stored_images import StoredImages
from classifier.models.buffers import keep_large_buffers
from classifier.models.forward import predict_logits
keep_large_buffers()
network, spec = made("cnn", 224, filters=(8, 16), dense_units=32)
images = StoredImages(Path(sys.argv[1]))
predict_logits(network, images, spec.mean, spec.std, batch_size=16)
"""
    limited(code, black(tmp_path / "test.npy", 1600, 224), megabytes=300)


@pytest.mark.slow
def test_evaluation_never_holds_a_split(tmp_path: Path) -> None:
    """The sample of train alone is 700 MB, and a batch as it is asked for 600 MB more."""
    code = """
network, spec = made("cnn", 256, filters=(2,), dense_units=4)
data = PreparedData.open(Path(sys.argv[1]))
network.test_time_augmentation = "mirror_shift"
params = EvaluateParams(batch_size=256, seed=0, top_k=1, bootstrap_samples=10)
found = evaluate(network, spec, data, params, torch.device("cpu"))
assert len(found.outcomes["train"].labels) == 3500
"""
    folder = black_set(tmp_path / "prepared", 256, train=3500, test=256)
    limited(code, folder, megabytes=600)


def test_very_wide_embeddings_are_projected(tmp_path: Path) -> None:
    """The covariance of so many values would take 20 GB."""
    code = """
points = np.random.default_rng(0).normal(size=(50, 50_000)).astype(np.float32)
plane, shares = principal_plane(points)
assert plane.shape == (50, 2) and 0 < shares[1] < shares[0] < 1
"""
    limited(code, megabytes=500)


@pytest.mark.slow
def test_the_stages_train_and_evaluate_take_images_of_512_pixels(tmp_path: Path) -> None:
    """Of 3 GB that each may allocate, Python and its libraries take a quarter."""
    (tmp_path / "sitecustomize.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))\n",
        encoding="utf-8",
    )
    project = workspace.fresh(tmp_path / "project", with_results=False)
    black_set(project.path / "data/prepared", 512, train=400, val=20, test=256)
    project.set(
        model__cnn__filters=[2],
        train__epochs=1,
        train__batch_size=8,
        train__data_placement="stream",
        evaluate__bootstrap_samples=10,
    )
    limit = ONE_THREAD | {"PYTHONPATH": str(tmp_path)}
    for stage in ("train", "evaluate"):
        project.run("python", "-W", "ignore", "-m", f"stages.{stage}", env=limit)
