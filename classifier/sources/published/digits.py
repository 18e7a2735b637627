"""scikit-learn's handwritten digits: 1,797 real scans of 8×8 pixels, part of the installed package.

They need no network, so they are what a fresh clone starts with.
"""

from collections.abc import Iterator

import numpy as np

from classifier.sources.source_index import About, Item, Listing

ABOUT = About(
    name="digits",
    description="1,797 handwritten digits, 8×8 gray, from 43 writers",
    license="CC BY 4.0",
    citation="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine "
    "Learning Repository, 1998, https://doi.org/10.24432/C50P49",
    homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
)


def listing() -> Listing:
    """All digits, without official splits; values 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)

    def items() -> Iterator[Item]:
        for index, (image, label) in enumerate(zip(pixels, digits.target, strict=True)):
            yield Item(f"{index:04d}", str(label), "", "", image)

    return Listing(ABOUT, tuple(str(digit) for digit in range(10)), items(), len(pixels))
