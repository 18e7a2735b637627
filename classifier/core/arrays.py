"""Files of arrays, written whole and read with care."""

import io
import os
from collections.abc import Mapping
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np

from classifier.core.files import made_by, replacing
from classifier.core.types import AnyArray


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, AnyArray]) -> None:
    """Write an .npz file, the same bytes for the same arrays; np.load reads it without pickle.

    np.savez would leave it to the version of Python how the archive's headers look.
    """
    with replacing(path) as temporary, ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
            archive.writestr(ZipInfo(f"{name}.npy"), buffer.getvalue())


def read_array(path: str | os.PathLike[str], stage: str, *, mapped: bool = False) -> AnyArray:
    """Read or map an .npy file that ``stage`` made; UserError where it is not whole."""
    with made_by(stage, path):
        array: Any = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is no array")
        return array


def read_arrays(path: str | os.PathLike[str], stage: str) -> dict[str, AnyArray]:
    """Read an .npz file that ``stage`` made; UserError where it is not whole."""
    with made_by(stage, path), np.load(path, allow_pickle=False) as archive:
        return dict(archive)
