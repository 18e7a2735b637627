"""The reader of the prepared data: ids of chosen rows."""

from pathlib import Path

import numpy as np

from tests.support.prepared_digits import prepared_digits


def test_ids_of_chosen_rows_come_in_their_order(tmp_path: Path) -> None:
    data = prepared_digits(tmp_path / "prepared")
    every = data.ids("val")
    assert data.ids("val", np.array([5, 0, 5])) == [every[5], every[0], every[5]]
    assert data.ids("val", np.zeros(0, np.int64)) == []
