"""Types that several packages name: of arrays by what they hold (docstrings say their shapes)."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Interval

AnyArray = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
UInt8Array = npt.NDArray[np.uint8]
UInt16Array = npt.NDArray[np.uint16]
UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]
IntegerArray = npt.NDArray[np.integer]  # of any size
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]  # of any precision
BytesArray = npt.NDArray[np.bytes_]
TextArray = npt.NDArray[np.str_]

Workers = Annotated[int, Interval(ge=0, le=1024)]  # processes; 0 stands for one a core
