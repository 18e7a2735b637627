"""Work on two nodes of a Ray cluster: the order and bytes of one machine, whatever is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import psutil
import pytest
import torch

from classifier.core import engine
from classifier.core.engine import ray_map
from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.evaluation import answers as answers_module
from classifier.evaluation.evaluate import evaluate
from classifier.images import parallel
from classifier.images.manifest import Manifest
from classifier.metrics.scoring import EvaluateParams
from classifier.models.classifier import Classifier
from classifier.models.model_file import save
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from classifier.preprocessing import prepare as prepare_module
from classifier.preprocessing.prepare import PreprocessParams, prepare
from classifier.sources import ingest as ingest_module
from classifier.sources.ingest import ingest
from classifier.sources.source_index import About, Item, Listing
from classifier.splits.assign import SplitParams, assign
from classifier.splits.duplicates import thumbnails
from tests.support import workspace
from tests.support.image_files import encoded
from tests.support.manifests import photo
from tests.support.prepared_digits import prepared_digits
from tests.support.ray_cluster import two_nodes
from tests.support.workspace import environment

CLASSES = ("cat", "dog")
KEPT = {".gitignore", "images", "splits"}  # in data/, of a fresh clone


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """60 photographs and a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        photo(number, (80, 60)).save(folder / f"{number:02d}.png")
    (folder / "60.png").write_bytes(b"broken")
    return folder


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the little work of a test be divided among the workers."""
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 0.0)
    monkeypatch.setattr(ingest_module, "_SHARD_ITEMS", 4)
    monkeypatch.setattr(prepare_module, "PART_BYTES", 10 * 32 * 32 * 3)
    monkeypatch.setattr(prepare_module, "FEW_BYTES", 0)


def listing(photos: Path, at_item: Callable[[int], object] = lambda number: None) -> Listing:
    """The photographs as a source, which calls ``at_item`` before it hands over each."""

    def items() -> Iterator[Item]:
        for number, path in enumerate(sorted(photos.iterdir())):
            at_item(number)
            yield Item(path.stem, CLASSES[number % 2], "", "", path)

    return Listing(About("photos", ""), CLASSES, items(), 61)


def prepared(raw: Path, folder: Path, storage: Literal["arrays", "encoded"] = "arrays") -> None:
    manifest = Manifest.read(raw)
    division = assign(manifest, SplitParams(seed=0, test_fraction=0.2, val_fraction=0.2))
    params = PreprocessParams(32, 3, "crop", "standardize", storage=storage)
    prepare(raw, manifest, division, CLASSES, params, folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with two_nodes():
        yield


def node_and(number: int) -> tuple[str, int]:
    import ray

    return ray.get_runtime_context().get_node_id(), number


def refuse(number: int) -> int:
    if number == 5:
        raise UserError("image 5 is broken: mend it.")
    if number == 9:
        raise ValueError("nine")
    return number


@pytest.mark.usefixtures("cluster")
def test_pieces_come_back_in_order_from_both_nodes() -> None:
    nodes, numbers = zip(*ray_map(node_and, range(40)), strict=True)
    assert list(numbers) == list(range(40))
    assert len(set(nodes)) == 2


@pytest.mark.usefixtures("cluster")
def test_only_a_few_pieces_are_drawn_ahead() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    results = ray_map(abs, endless())
    assert [next(results) for _ in range(20)] == list(range(1, 21))
    results.close()  # type: ignore[attr-defined]
    assert drawn <= 20 + 2 * engine.AHEAD


@pytest.mark.usefixtures("cluster")
def test_errors_of_a_piece_are_those_that_it_raised() -> None:
    with pytest.raises(UserError) as told:
        list(ray_map(refuse, range(8)))
    assert str(told.value) == "image 5 is broken: mend it."
    with pytest.raises(ValueError, match=r"^nine$"):
        list(ray_map(refuse, range(6, 12)))


def test_two_nodes_prepare_the_bytes_of_one_machine(
    photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ingest(listing(photos), tmp_path / "raw", max_rejected=0.1)
    prepared(tmp_path / "raw", tmp_path / "prepared")
    prepared(tmp_path / "raw", tmp_path / "encoded", "encoded")
    manifest, rows = Manifest.read(tmp_path / "raw"), np.arange(60)
    small = thumbnails(manifest, tmp_path / "raw", rows)
    request.getfixturevalue("cluster")
    ingest(listing(photos), tmp_path / "raw-ray", max_rejected=0.1)
    prepared(tmp_path / "raw-ray", tmp_path / "prepared-ray")
    prepared(tmp_path / "raw-ray", tmp_path / "encoded-ray", "encoded")
    assert (thumbnails(manifest, tmp_path / "raw-ray", rows) == small).all()
    raw = content(tmp_path / "raw")
    assert len([name for name in raw if name.startswith("shard-")]) == 16
    assert content(tmp_path / "raw-ray") == raw
    assert "train-00003.npy" in content(tmp_path / "prepared")
    assert content(tmp_path / "prepared-ray") == content(tmp_path / "prepared")
    assert "train-00003.tar" in content(tmp_path / "encoded")
    assert content(tmp_path / "encoded-ray") == content(tmp_path / "encoded")


@pytest.mark.usefixtures("cluster")
def test_two_nodes_evaluate_to_the_bits_of_one_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_thread: None
) -> None:
    evaluated_by_the_cluster_as_here(monkeypatch, tmp_path)


def evaluated_by_the_cluster_as_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(answers_module, "BATCHES", 2)
    data = prepared_digits(tmp_path / "prepared")
    network, spec = untrained()
    save(tmp_path / "model.safetensors", network, spec)
    params = EvaluateParams(batch_size=48, top_k=2, seed=0, bootstrap_samples=10, device="cpu")
    here = evaluate(network, spec, data, params, torch.device("cpu"))
    there = evaluate(
        network, spec, data, params, torch.device("cpu"), tmp_path / "model.safetensors"
    )
    for split, found in here.outcomes.items():
        assert (there.outcomes[split].logits == found.logits).all()
    assert len(here.embeddings) > 96
    assert (there.embeddings == here.embeddings).all()


def untrained() -> tuple[Classifier, ModelSpec]:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=1, image_size=8).eval()
    torch.nn.init.normal_(network.last_linear.weight, std=0.1)
    classes = tuple(str(digit) for digit in range(10))
    return network, ModelSpec("cnn", {}, classes, 1, 8, Resize(), (0.5,), (0.25,), 1.7)


@pytest.mark.slow
def test_a_node_that_is_killed_changes_no_byte(photos: Path, tmp_path: Path) -> None:
    ingest(listing(photos), tmp_path / "raw", max_rejected=0.1)
    with two_nodes() as (cluster, second):
        killed = []

        def kill(number: int) -> None:
            if number == 40:
                cluster.remove_node(second, allow_graceful=False)
                killed.append(second)

        ingest(listing(photos, kill), tmp_path / "raw-ray", max_rejected=0.1)
    assert killed
    assert content(tmp_path / "raw-ray") == content(tmp_path / "raw")


def stuck_on(
    node: str, mark: Path, function: Callable[[engine.Piece], engine.Result], piece: engine.Piece
) -> engine.Result:
    """``function(piece)``, but on one node never the answer: ``mark`` tells that it is at work."""
    import ray

    result = function(piece)
    if ray.is_initialized() and ray.get_runtime_context().get_node_id() == node:
        mark.touch()
        time.sleep(300)
    return result


@pytest.fixture
def losing_a_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[ModuleType, str], None]]:
    """Two nodes, one of which is killed at its first piece of a module's map, once that is done.

    Its work is done by then, files included, but nobody has been told.
    """
    with two_nodes() as (cluster, second):
        mark = tmp_path / "at-work"

        def kill() -> None:
            while not mark.exists():
                time.sleep(0.05)
            cluster.remove_node(second, allow_graceful=False)

        def watch(module: ModuleType, name: str) -> None:
            real = getattr(module, name)
            monkeypatch.setattr(
                module,
                name,
                lambda function, *rest, **named: real(
                    partial(stuck_on, second.node_id, mark, function), *rest, **named
                ),
            )
            killer.start()

        killer = threading.Thread(target=kill, daemon=True)
        yield watch
        killer.join(timeout=60)
        assert mark.exists()
        assert not killer.is_alive()


@pytest.mark.slow
def test_a_node_that_is_killed_changes_no_byte_of_the_arrays(
    photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ingest(listing(photos), tmp_path / "raw", max_rejected=0.1)
    prepared(tmp_path / "raw", tmp_path / "prepared")
    request.getfixturevalue("losing_a_node")(prepare_module, "ordered_map")
    prepared(tmp_path / "raw", tmp_path / "prepared-ray")
    assert content(tmp_path / "prepared-ray") == content(tmp_path / "prepared")


@pytest.mark.slow
def test_a_node_that_is_killed_changes_no_bit_of_the_logits(
    tmp_path: Path,
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
    losing_a_node: Callable[[ModuleType, str], None],
) -> None:
    losing_a_node(answers_module, "ray_map")
    evaluated_by_the_cluster_as_here(monkeypatch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_stage_and_all_of_ray(tmp_path: Path, asked: signal.Signals) -> None:
    """As Ctrl-C in a terminal, which reaches the whole group."""
    project = workspace.fresh(tmp_path / "project", with_results=False)
    large = encoded(photo(0, (2400, 1800)), "JPEG", quality=98)
    for name in CLASSES:
        (project.path / "data/images" / name).mkdir(parents=True)
        for number in range(100):
            (project.path / "data/images" / name / f"{number}.jpg").write_bytes(large)
    project.set(download__source="folder")
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.download"],
        cwd=project.path,
        env=environment() | {engine.ENGINE: "ray"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not any(child.name() == "ray::in_folder" for child in below(process.pid)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = below(process.pid)
    os.killpg(process.pid, asked)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "download stopped.\n")
    assert not psutil.wait_procs(children, timeout=30)[1]
    assert {path.name for path in (project.path / "data").iterdir()} <= KEPT


def below(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)
