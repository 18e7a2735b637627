"""What is wrong with the pictures themselves: duplicates, conflicting labels, poor exposures."""

import numpy as np
import numpy.typing as npt

from classifier.manifest import Text

Rows = npt.NDArray[np.int64]


def equal_links(values: Text) -> Rows:
    """[L, 2] rows: each row linked to the first row that has the same value; "" links nothing."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rows = np.arange(len(values))
    linked = (first[inverse] != rows) & (values != "")
    return np.stack([first[inverse][linked], rows[linked]], axis=1)
