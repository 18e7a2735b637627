"""The embeddings that a backbone gives: computed once, and kept for every run that shares them."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from classifier.core.files import replacing, sha256
from classifier.core.keys import key_of, python_files
from classifier.core.known_hashes import hashes
from classifier.core.types import Float32Array, Int64Array
from classifier.dataset.prepared import PreparedData
from classifier.models.classifier import Classifier, TestTimeAugmentation
from classifier.models.forward import predict_logits, together
from classifier.models.spec import ModelSpec, described

KEPT = 16  # files, each of one split or view, those that were used last; more of them if these
KEPT_BYTES = 4 << 30  # hold them all
CODE = [Path(__file__).parents[1] / name for name in ("core", "dataset", "models")]


class KeptEmbeddings:
    """What the last layer of a network is given, for the splits of a data set.

    They are computed in float32, as everybody computes who uses the model. A backbone is a network
    without its last layer, and has a folder of its own. A file in it is named by all that decides
    its content, is written whole or not at all, and is read only if its checksum is right. At least
    the KEPT files that were used last stay.

    Attributes:
        known: whether embeddings of this backbone were kept before.
    """

    def __init__(
        self,
        folder: Path,
        network: Classifier,
        spec: ModelSpec,
        data: PreparedData,
        device: torch.device,
        say: Callable[[str], None] = print,
    ) -> None:
        """Look in ``folder`` for what ``network`` gives now; its backbone must not change after.

        Args:
            spec: of the network, for its name, its settings and how images are standardized.
        """
        self.network, self.spec, self.data, self.device = network, spec, data, device
        self.root, self.say = folder, say
        self.place = folder / _backbone_key(network, spec, device)
        self.known = self.place.is_dir()

    def of(
        self,
        split: str,
        batch_size: int = 512,
        test_time_augmentation: TestTimeAugmentation = "none",
        rows: Int64Array | None = None,
    ) -> Float32Array:
        """Embeddings float32 [N, D] of a split, or ``rows`` of it: the mean over an image's views.

        A linear layer behind them gives the mean of the views' logits. The last bits of an
        embedding may depend on the images beside it, so those of some rows are no part of the
        split's.
        """
        network, spec, images = self.network, self.spec, self.data.images(split)
        if rows is not None:
            images = images.select(rows)
        step = together(network, images.shape[1:], batch_size)

        def compute() -> Float32Array:
            before = network.test_time_augmentation
            network.test_time_augmentation = test_time_augmentation
            try:
                with without_last_layer(network):
                    return predict_logits(network, images, spec.mean, spec.std, self.device, step)
            finally:
                network.test_time_augmentation = before

        chosen = None if rows is None else rows.tolist()
        return self.kept(split, [step, test_time_augmentation, chosen], compute)

    def kept(self, split: str, facts: Any, compute: Callable[[], Float32Array]) -> Float32Array:
        """What ``compute`` gives of a split's images, or gave in an earlier run.

        Args:
            facts: JSON values; all that decides the embeddings beside the images and the backbone.
        """
        folder = self.data.folder
        patterns = (f"{split}.npy", f"{split}-*", f"{split}_places.npy")  # the labels are no matter
        files = sorted(file for pattern in patterns for file in folder.glob(pattern))
        content = hashes(files, self.root.parent / "hashes.json")
        key = key_of([facts, self.data.meta.get("encoded"), content], [])
        path = self.place / f"{split}-{key}.npz"
        found = _read(path, self.say)
        if found is not None:
            self.say(f"embeddings of {len(found):,} {split} images from {path}")
            return found
        found = compute()
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, embeddings=found)
        self._tidy()
        return found

    def _tidy(self) -> None:
        kept = sorted(self.root.glob("*/*.npz"), key=lambda path: path.stat().st_mtime)
        size = sum(path.stat().st_size for path in kept)
        for old in kept[:-KEPT]:
            if size > KEPT_BYTES:
                size -= old.stat().st_size
                old.unlink(missing_ok=True)
                if not any(old.parent.iterdir()):
                    old.parent.rmdir()


@contextmanager
def without_last_layer(network: Classifier) -> Iterator[None]:
    """Let a network answer with its embeddings [N, D] within the block."""
    path, last = network.path_of(network.last_layer), network.last_layer
    network.replace_last_layer(nn.Identity())
    try:
        yield
    finally:
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, last)


def _backbone_key(network: Classifier, spec: ModelSpec, device: torch.device) -> str:
    """The key of all that decides what a backbone makes of an image."""
    digest = hashlib.sha256()
    last = f"{network.path_of(network.last_layer)}."
    for name, values in sorted(network.state_dict().items()):
        if not name.startswith(last):
            digest.update(f"\0{name} {values.dtype} {tuple(values.shape)}\0".encode())
            digest.update(values.cpu().contiguous().numpy().tobytes())
    # The classes, and what follows from logits, are no matter of the backbone.
    args = {key: value for key, value in spec.args.items() if key != "neighbors"}
    neutral = replace(spec, args=args, classes=("one",), temperature=1.0, extra={}, decision=None)
    facts: dict[str, Any] = {
        "network": described(neutral),
        "weights": digest.hexdigest(),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: metadata.version(name) for name in ("torch", "torchvision", "timm")},
        "code": [sha256(path) for path in sorted(python_files(CODE))],  # wherever it is
    }
    return key_of(facts, [])


def _read(path: Path, say: Callable[[str], None]) -> Float32Array | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            found: Float32Array = file["embeddings"]
        path.touch()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        say(f"warning: {path} is damaged: the embeddings are computed anew.")
        return None
    return found
