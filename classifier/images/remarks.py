"""What Pillow and libtiff say about a file while they decode it.

Neither knows the file's name. Pillow's warnings are kept for whoever asks, and libtiff's, which it
would write to the stderr of the process, are dropped: where it fails, the image is refused.
"""

import ctypes
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from PIL import Image

_here = threading.local()  # several threads may decode at a time
_shown = warnings.showwarning


@contextmanager
def kept(remarks: list[str]) -> Iterator[None]:
    """Append what this thread is warned of in the block, each once, instead of showing it."""
    _here.remarks = remarks
    try:
        yield
    finally:
        del _here.remarks


def _keep(message: Warning | str, *place: Any, **more: Any) -> None:
    remarks = getattr(_here, "remarks", None)
    if remarks is None:
        _shown(message, *place, **more)
    elif (remark := " ".join(str(message).split()).rstrip(".")) not in remarks:
        remarks.append(remark)


def _silence_libtiff() -> None:
    """Where libtiff is a library of its own, which it is in Pillow's wheels."""
    with suppress(AttributeError, OSError):
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
        set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        set_handler(None)


warnings.showwarning = _keep
warnings.filterwarnings("always", module=r"PIL\.")  # not only for the first file
# `decode` compares the size itself, before any pixel is decoded, and refuses with a reason.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
_silence_libtiff()
