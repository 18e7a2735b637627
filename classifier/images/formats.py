"""What can be opened, and how large it may be."""

# More pixels than this are a mistake or an attack: decoded, they would fill the memory.
# The number is Pillow's own threshold: a quarter of a gibibyte of RGB.
MAX_PIXELS = 89_478_485

# What can be opened. Pillow knows more formats; among them are some that start other programs
# (EPS) or have no use as photographs, so the list says which are meant to come in. A camera's
# MPO file opens as the JPEG that it starts with.
FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA",
)  # fmt: skip
EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".webp", ".avif", ".jp2",
    ".j2k", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
})  # fmt: skip
