"""Portable numerics: the same bytes on other kinds of x86-64 CPU, which an emulator stands in for.

qemu computes the instructions that estimate (RCPPS, RSQRTPS) exactly, where each maker's processor
has its own last bits: whatever rests on them differs here.
"""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.core.errors import UserError
from classifier.core.portable import TORCH, has_avx2
from classifier.core.resize import Resize
from classifier.models.portable import compute_portably
from classifier.models.spec import ModelSpec, read_spec
from classifier.training.numerics import settle
from tests.support import workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace
from tools import ROOT

emulated = pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None, reason="needs qemu-user (apt-get install qemu-user)"
)
portable = pytest.mark.skipif(not has_avx2(), reason="needs Linux on x86-64 with AVX2")
CPU = torch.device("cpu")
STAGES = ("download", "split", "preprocess", "train", "evaluate", "plot")
SHOWN = "models/augmentation.npz"
BOTH = """
from stages import train, evaluate
train.main()
evaluate.main()
"""
# qemu 7.2 crashes in torch's bilinear grid_sample, which in a default run the figure of the
# augmentations alone needs.
WITHOUT_PREVIEW = """
import sys, importlib, stages
from classifier.augment import preview
preview.preview = lambda images, *_, **__: {"before": images}
for name in sys.argv[1:]:
    importlib.import_module(f"stages.{name}").main()
"""
# Of torch alone: every optimizer, with what draws roots, and first weights from the data.
OPTIMIZERS = """
import sys, stages
from pathlib import Path
from classifier.augment.augmenter import AugmentParams
from classifier.dataset.prepared import PreparedData
from classifier.models.registry import ModelParams
from tests.support.training_runs import digest, fit
data = PreparedData.open(sys.argv[1])
mixed = AugmentParams(shift=0.125, erasing=0.5, cutmix=1.0)
for network, optimizer in zip(
    ("lenet", "fast", "cnn", "mlp", "cnn"), ("adam", "adamw", "sgd", "rmsprop", "muon")
):
    run = fit(data, mixed, model=ModelParams(network), optimizer=optimizer, epochs=1,
              batch_size=32, numerics="portable", ema_decay=0.9, gradient_clip_norm=1.0)
    print(network, optimizer, digest(run), run.numerics)
"""


def python(place: Workspace, *arguments: str, cpu: str = "") -> str:
    """Run Python there, with the kernels that it finds, on this CPU or an emulated one."""
    command = ("qemu-x86_64", "-cpu", cpu, sys.executable) if cpu else ("python",)
    with pytest.MonkeyPatch.context() as patch:
        for name in TORCH:  # that the tests set for themselves
            patch.delenv(name, raising=False)
        patch.setenv("PYTHONPATH", str(ROOT))
        return place.run(*command, *arguments).stdout


def hashes(place: Workspace) -> dict[str, str]:
    """Of every output and small file of a run, less what emulation leaves out."""
    files = [f for name in ("data", "models", "metrics") for f in (place.path / name).rglob("*")]
    names = {f.relative_to(place.path).as_posix(): f for f in files if f.is_file()}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in names.items()
        if name != SHOWN
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A few digits for the default network."""
    result = workspace.fresh(tmp_path_factory.mktemp("portable"), with_results=False)
    prepared_digits(result.path / "data/prepared", train=128, val=32)
    result.set(train__epochs=1, train__batch_size=64, evaluate__bootstrap_samples=20)
    result.set(evaluate__train_images=32, evaluate__embedding_images=64)
    return result


@pytest.fixture(scope="module")
def trained(small: Workspace) -> dict[str, str]:
    """What train and evaluate write in a process of their own, with all cores."""
    python(small, "-c", BOTH)
    assert read_spec(small.path / "models/model.safetensors").extra == {
        "numerics": "portable",
        "threads": 1,
    }
    return hashes(small)


@portable
@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs Linux's taskset")
def test_the_number_of_cores_and_threads_changes_no_byte(
    small: Workspace, trained: dict[str, str], tmp_path: Path
) -> None:
    place = workspace.copy(small, tmp_path / "copy")
    core = str(min(os.sched_getaffinity(0)))
    command = ("taskset", "-c", core, sys.executable, "-c", BOTH)
    place.run(*command, env={"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"})
    assert hashes(place) == trained


@portable
@emulated
@pytest.mark.slow
def test_another_cpu_trains_and_scores_to_the_same_bytes(
    small: Workspace, trained: dict[str, str], tmp_path: Path
) -> None:
    place = workspace.copy(small, tmp_path / "copy")
    python(place, "-c", WITHOUT_PREVIEW, "train", "evaluate", cpu="Haswell")
    assert hashes(place) == trained


@portable
@emulated
@pytest.mark.slow
def test_every_optimizer_gives_the_same_bits_on_another_cpu(small: Workspace) -> None:
    prepared = str(small.path / "data/prepared")
    ours = python(small, "-c", OPTIMIZERS, prepared)
    assert ours.count("portable") == 5
    assert python(small, "-c", OPTIMIZERS, prepared, cpu="Haswell") == ours


@portable
@emulated
@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["Haswell", "EPYC-Rome"])
def test_the_default_pipeline_gives_the_same_bytes_on_another_cpu(cpu: str, tmp_path: Path) -> None:
    here = workspace.fresh(tmp_path / "here", with_results=False)
    here.set(train__epochs=2)
    there = workspace.copy(here, tmp_path / "there")
    for stage in STAGES:
        python(here, "-m", f"stages.{stage}")
    python(there, "-c", WITHOUT_PREVIEW, *STAGES[:5], cpu=cpu)
    shutil.copy(here.path / SHOWN, there.path / SHOWN)
    python(there, "-m", "stages.plot", cpu=cpu)
    assert hashes(there) == hashes(here)


def spec_of(name: str, size: int) -> ModelSpec:
    classes = tuple(map(str, range(10)))
    return ModelSpec(
        name, {}, classes, channels=3, image_size=size, resize=Resize(), mean=(0.5,), std=(0.5,)
    )


@portable
def test_small_networks_are_portable_and_large_ones_on_request() -> None:
    assert settle("auto", spec_of("cnn", 8), CPU)
    assert not settle("auto", spec_of("cnn", 32), CPU), "as it was: the kernels of this CPU"
    assert settle("portable", spec_of("cnn", 32), CPU)
    assert not settle("fast", spec_of("cnn", 8), CPU)
    assert not settle("auto", spec_of("cnn", 8), torch.device("cuda"))
    assert not settle("auto", spec_of("cnn", 8), CPU, precision="bf16")


@pytest.mark.parametrize("wish", [{"precision": "bf16"}, {"compile": True}])
def test_portable_numerics_that_cannot_be_had_are_refused(wish: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"^train\.numerics: portable is for float32 on the CPU"):
        settle("portable", spec_of("cnn", 8), CPU, **wish)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^train\.numerics: portable is for float32"):
        settle("portable", spec_of("cnn", 8), torch.device("cuda"))


def test_another_processor_is_fast_or_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifier.models.portable.has_avx2", lambda: False)
    assert not settle("auto", spec_of("cnn", 8), CPU)
    with pytest.raises(UserError, match=r"^train\.numerics: portable needs Linux on an x86-64"):
        settle("portable", spec_of("cnn", 8), CPU)


@portable
def test_roots_are_those_of_exact_operations() -> None:
    """Zeros, infinities and what is no number among them, with their gradients."""
    assert compute_portably()
    values = torch.tensor([0.0, -0.0, 1e-45, 0.25, 2.0, 9.0, torch.inf, -1.0, torch.nan])
    with np.errstate(all="ignore"):
        expected = (1 / (1 / values.double().numpy() ** 0.5).astype("float32")).astype("float32")
    assert torch.equal(values.sqrt().nan_to_num(7), torch.from_numpy(expected).nan_to_num(7))
    assert torch.equal(values.clone().sqrt_().nan_to_num(7), values.sqrt().nan_to_num(7))
    four = torch.tensor(4.0, requires_grad=True)
    four.sqrt().backward()
    assert four.grad == 0.25


@portable
def test_a_large_network_says_that_its_bytes_are_this_machines(
    small: Workspace, tmp_path: Path
) -> None:
    place = workspace.copy(small, tmp_path / "copy")
    place.set(model__name="resnet")
    said = place.stages("train")
    assert re.search(r"another kind of CPU, .* gives this run other bytes; train.numerics", said)
    assert read_spec(place.path / "models/model.safetensors").extra["numerics"] == "fast"
    place.set(train__numerics="fast")
    assert "other bytes" not in place.stages("train")
