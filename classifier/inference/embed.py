"""What a network sees in images: logits and embeddings of any number of them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from classifier.core.types import Float32Array, UInt8Array
from classifier.inference.inputs import InputImage
from classifier.inference.predict import each
from classifier.inference.torch_backend import TorchPredictor


class Seen(NamedTuple):
    """An image with its logits [K] and its embedding [D], or neither and the reason why."""

    image: InputImage
    logits: Float32Array | None
    embedding: Float32Array | None
    problem: str = ""


def look(predictor: TorchPredictor, images: Iterable[InputImage]) -> Iterator[Seen]:
    """Yield what the network sees in each image, in order."""

    def ask(pixels: UInt8Array) -> Float32Array:
        return np.concatenate(predictor.seen(pixels), axis=1)

    classes = len(predictor.spec.classes)
    for image, _, found in each(ask, predictor.spec, images):
        if isinstance(found, str):
            yield Seen(image, None, None, found)
        else:
            yield Seen(image, found[:classes], found[classes:])
