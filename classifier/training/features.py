"""The embeddings of a frozen backbone: computed once, and kept for every run that shares them."""

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from classifier.core.files import replacing, sha256
from classifier.core.types import Float32Array
from classifier.dataset.prepared import PreparedData
from classifier.models.classifier import Classifier
from classifier.models.forward import predict_logits
from classifier.models.spec import described
from classifier.training.run.known_hashes import hashes
from classifier.training.run_key import key_of, python_files
from classifier.training.session import Session

KEPT = 4  # sets of embeddings, the last ones that were used


@dataclass(frozen=True)
class Features:
    """Embeddings of the train and val splits, float32 [N, D]: inputs of the last linear layer."""

    train: Float32Array
    val: Float32Array


def features(
    session: Session,
    data: PreparedData,
    weights: Path,
    code: Iterable[Path],
    folder: Path,
    say: Callable[[str], None] = print,
) -> Features:
    """The embeddings that the session's network gives of the data, from ``folder`` if it has them.

    They are computed in float32, as everybody computes who uses the model. A file in ``folder`` is
    named by all that decides its content, is written whole or not at all, and is read only if its
    checksums are right; the KEPT files that were used last stay.

    Args:
        weights: the file of the pretrained weights.
        code: files, or folders whose Python files count.
    """
    spec = session.spec
    facts = {
        # The classes are no matter of the backbone.
        "network": described(replace(spec, classes=("one",), extra={})),
        "weights": sha256(weights),
        "numerics": str(session.numerics),
        "torch": torch.__version__,
    }
    files = [data.folder / "meta.json", *data.folder.glob("train*"), *data.folder.glob("val*")]
    facts["data"] = hashes(sorted(files), folder.parent / "hashes.json")
    path = folder / f"{key_of(facts, python_files(code))}.npz"
    if found := _read(path, say):
        say(f"embeddings of {len(found.train) + len(found.val):,} images from {path}")
        return found
    found = Features(
        embeddings(session, data, "train", "none"),
        embeddings(session, data, "val", session.network.test_time_augmentation),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, train=found.train, val=found.val)
    for old in sorted(folder.glob("*.npz"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return found


def embeddings(
    session: Session, data: PreparedData, split: str, test_time_augmentation: str
) -> Float32Array:
    """Embeddings float32 [N, D] of a split: the mean over the views of an image.

    The layer behind them is linear, so that it gives the mean of the views' logits.
    """
    network, spec = session.network, session.spec
    before, network.test_time_augmentation = network.test_time_augmentation, test_time_augmentation  # type: ignore[assignment]
    parent, name, last = _last(network)
    setattr(parent, name, nn.Identity())
    try:
        return predict_logits(network, data.images(split), spec.mean, spec.std, session.device)
    finally:
        setattr(parent, name, last)
        network.test_time_augmentation = before


def _last(network: Classifier) -> tuple[nn.Module, str, nn.Linear]:
    """The last linear layer's parent, its name there, and the layer."""
    last = network.last_linear
    path = next(path for path, module in network.named_modules() if module is last)
    parent, _, name = path.rpartition(".")
    return network.get_submodule(parent), name, last


def _read(path: Path, say: Callable[[str], None]) -> Features | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = Features(file["train"], file["val"])
        path.touch()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        say(f"warning: {path} is damaged: the embeddings are computed anew.")
        return None
    return found
