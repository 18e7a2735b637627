"""Images that a network sees alike: the nearest of others by their embeddings.

An embedding is what the last layer of a network sees of an image. Two of them are compared by
their direction: the cosine distance is 0 for the same one, 1 for unrelated and 2 for opposite ones.
"""

import sys
from functools import partial
from typing import NamedTuple

import numpy as np

from classifier.core.errors import installing
from classifier.core.types import AnyArray, Float32Array, FloatArray, Int64Array

EXACT = 100_000  # embeddings to search among, above which a library's index is the faster way
_CHUNK = 1 << 24  # distances held at a time
_LINKS = 32  # of a node of faiss's graph, its customary number


class Neighbors(NamedTuple):
    """``rows`` int64 [N, k] of the reference, nearest first, and ``distance`` float32 [N, k]."""

    rows: Int64Array
    distance: Float32Array


class Embedded(NamedTuple):
    """``rows`` int64 [n] of a split in data/prepared, and their ``vectors`` float16 [n, D]."""

    rows: Int64Array
    vectors: FloatArray


def unit(embeddings: FloatArray) -> FloatArray:
    """Embeddings [N, D] at length 1, float16, in which none is too large; one of zeros stays."""
    return _directions(embeddings).astype(np.float16)


def _directions(embeddings: FloatArray) -> Float32Array:
    found = np.array(embeddings, np.float32)
    # By the largest value first: no square may be out of range.
    for measure in (partial(np.max, initial=0), np.linalg.norm):
        length = measure(np.abs(found), axis=1, keepdims=True)
        np.divide(found, length, out=found, where=length > 0)
    return found


def nearest(queries: FloatArray, reference: FloatArray, count: int) -> Neighbors:
    """The ``count`` nearest of ``reference`` for each of ``queries``; fewer where it has fewer.

    The search is exact, and of equals the first comes first. Beyond ``EXACT`` references and with
    faiss installed, its graph of near ones (HNSW, Malkov and Yashunin 2018,
    https://arxiv.org/abs/1603.09320) is searched instead, which misses a few.

    Args:
        queries: [N, D] as `unit` gives them.
        reference: [M, D] likewise.
        count: 1 or more.
    """
    count = min(count, len(reference))
    if len(reference) > EXACT:
        try:
            return _by_graph(queries, reference, count)
        except ImportError:
            print(
                f"The nearest of {len(reference):,} images are searched one by one; "
                f"{installing('embed')} makes that faster.",
                file=sys.stderr,
            )
    rows = np.zeros((len(queries), count), np.int64)
    distance = np.zeros((len(queries), count), np.float32)
    known = _directions(reference).T
    step = max(1, _CHUNK // max(1, len(reference)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        found = 1 - _directions(queries[part]) @ known
        rows[part], distance[part] = _smallest(found, count)
    return Neighbors(rows, np.maximum(distance, 0))


def _smallest(distance: AnyArray, count: int) -> tuple[AnyArray, AnyArray]:
    """Columns and values [N, count] of the smallest of [N, M], rising; of equals the first."""
    if count < distance.shape[1]:
        # All that are no greater than the last one wanted: equals of it included.
        last = np.partition(distance, count - 1, axis=1)[:, count - 1 : count]
        columns = [np.flatnonzero(row <= most) for row, most in zip(distance, last, strict=True)]
        order = [
            places[np.argsort(row[places], kind="stable")[:count]]
            for row, places in zip(distance, columns, strict=True)
        ]
        rows = np.array(order, np.int64).reshape(len(distance), count)
    else:
        rows = np.argsort(distance, axis=1, kind="stable")
    return rows, np.take_along_axis(distance, rows, axis=1)


def _by_graph(queries: FloatArray, reference: FloatArray, count: int) -> Neighbors:
    import faiss

    faiss.omp_set_num_threads(1)  # several threads would link the nodes in an order of their own
    index = faiss.IndexHNSWFlat(reference.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.add(_directions(reference))
    similarity, rows = index.search(_directions(queries), count)
    return Neighbors(rows.astype(np.int64), np.maximum(1 - similarity, 0).astype(np.float32))
