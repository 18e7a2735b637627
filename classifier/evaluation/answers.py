"""What the network says about images: in this process, or in parts on nodes of a Ray cluster."""

from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from classifier.core.engine import ray_map
from classifier.core.types import Float32Array, FloatArray, Int64Array
from classifier.dataset.stored_images import StoredImages
from classifier.evaluation.embedding import recorded_embeddings
from classifier.metrics.scoring import EvaluateParams
from classifier.metrics.stored_logits import stored
from classifier.models.classifier import Classifier, TestTimeAugmentation
from classifier.models.device import choose_device
from classifier.models.forward import predict_logits, together
from classifier.models.model_file import load
from classifier.models.portable import compute_as_trained
from classifier.models.spec import ModelSpec, read_spec

BATCHES = 16  # of a part; whole ones, so that each image has the neighbors that it has here


class Answers(NamedTuple):
    """Logits [N, K] as `stored` keeps them, and embeddings [n, D] of the rows asked for."""

    logits: FloatArray
    embeddings: Float32Array


def answers(
    network: Classifier,
    spec: ModelSpec,
    device: torch.device,
    batch_size: int,
    images: StoredImages,
    rows: Int64Array,
) -> Answers:
    """What the network says about images, with the embeddings of ``rows`` (ascending) of them."""
    with recorded_embeddings(network, rows) as embeddings:
        logits = predict_logits(
            network, images, spec.mean, spec.std, device, batch_size, keep=stored
        )
    return Answers(logits, embeddings())


@torch.inference_mode()
def answers_of_embeddings(
    network: Classifier,
    embeddings: Float32Array,
    step: int,
    device: torch.device,
    rows: Int64Array,
) -> Answers:
    """As `answers`, by the last layer alone, from the embeddings [N, D] of these images.

    Args:
        step: the images that go through the network together, so that all bits are the same.
    """
    layer = network.eval().last_layer
    parts = torch.from_numpy(embeddings).split(step)
    logits = [stored(layer(part.to(device)).float().cpu().numpy()) for part in parts]
    return Answers(np.concatenate(logits), embeddings[rows])


def answers_of_cluster(
    network: Classifier, model: Path, params: EvaluateParams, images: StoredImages, rows: Int64Array
) -> Answers:
    """As `answers`, from workers that load the network from ``model`` and read the images.

    On the CPU the bits are those of one process.
    """
    size = BATCHES * together(network, images.shape[1:], params.batch_size)
    parts = []
    for start in range(0, len(images), size):
        inside = rows[(rows >= start) & (rows < start + size)] - start
        parts.append((images.select(slice(start, start + size)), inside))
    task = partial(_part, model, network.test_time_augmentation, params)
    found = list(ray_map(task, parts, cpus=torch.get_num_threads(), gpu=params.device != "cpu"))
    logits, embeddings = zip(*found, strict=True)
    return Answers(np.concatenate(logits), np.concatenate(embeddings))


def _part(
    model: Path,
    augmentation: TestTimeAugmentation,
    params: EvaluateParams,
    part: tuple[StoredImages, Int64Array],
) -> Answers:
    network, spec, device = _loaded(model, params.device, model.stat().st_mtime_ns)
    network.test_time_augmentation = augmentation
    return answers(network, spec, device, params.batch_size, *part)


@lru_cache(maxsize=1)
def _loaded(model: Path, name: str, _written: int) -> tuple[Classifier, ModelSpec, torch.device]:
    device = choose_device(name, "evaluate.device")
    compute_as_trained(read_spec(model))
    network, spec = load(model, str(device))
    return network, spec, device
