"""What can be opened, and what to say of everything else."""

import re
from functools import cache

from classifier.core.errors import installing

# What can be opened. Pillow knows more formats; among them are some that start other programs
# (EPS) or have no use as photographs, so the list says which are meant to come in. A camera's
# MPO file opens as the JPEG that it starts with. HEIC is known once `knows_heic` has been asked.
FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA",
)  # fmt: skip
EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".webp", ".avif", ".jp2",
    ".j2k", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".heic", ".heif", ".hif",
})  # fmt: skip

_AVIF = rb"....ftyp.{0,24}?(avif|avis)"
_HEIC = rb"....ftyp.{0,24}?(hei[cfxms]|hev[cx]|mif1|msf1)"
_CONVERT = "convert it to PNG or JPEG"
# By how a file starts, whatever its name says: what it is, and the remedy.
_OTHERS = [
    (_AVIF, "AVIF", "install Pillow 11.3 or newer, which reads it"),
    (
        _HEIC,
        "HEIC",
        f"run {installing('heic')} in the project's folder, or convert it to JPEG",
    ),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", _CONVERT),
    (rb"II[*+]\0|MM\0[*+]", "TIFF, cut off or of a rare kind", "convert it to 8- or 16-bit PNG"),
    (rb"8BPS", "a Photoshop document", _CONVERT),
    (rb".{128}DICM", "DICOM", _CONVERT),
    (rb"\x76\x2f\x31\x01", "OpenEXR", "convert it to TIFF of 32-bit floats"),
    (rb"SIMPLE  =", "FITS", "convert it to TIFF of 32-bit floats"),
    (rb"\x93NUMPY", "a NumPy array", _CONVERT),
    (rb"%PDF", "PDF", _CONVERT),
    (rb"\s*(<\?xml.{0,500})?<svg", "SVG", _CONVERT),
    (rb"\s*<(!doctype )?html", "a web page", "download the image itself"),
    (rb"version https://git-lfs", "a Git LFS pointer", "run git lfs pull"),
]


def is_heic(data: bytes) -> bool:
    """Whether a file is HEIC by how it starts, which AVIF files may nearly do."""
    first = data[:64]
    return bool(re.match(_HEIC, first, re.DOTALL)) and not re.match(_AVIF, first, re.DOTALL)


@cache
def knows_heic() -> bool:
    """Let Pillow open HEIC files, the one main image of each; False without the extra ``heic``."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return True


class UnknownFormatError(ValueError):
    """The bytes are no image of a format in `FORMATS`."""

    def __init__(self, data: bytes) -> None:
        start = data[:1024]
        for pattern, name, remedy in _OTHERS:
            if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
                super().__init__(f"not an image of a known format: it is {name}; {remedy}")
                return
        super().__init__("not an image of a known format")
