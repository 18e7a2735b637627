"""Several arrays in one file."""

import io
import os
from collections.abc import Mapping
from zipfile import ZipFile, ZipInfo

import numpy as np

from classifier.core.files import replacing
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
