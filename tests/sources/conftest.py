"""Fixtures of the tests of tables."""

from pathlib import Path

import pytest

from tests.sources.test_download import folder_of
from tests.sources.test_table import write
from tests.support.table_cases import DISK, LABELS, OTHERS, plain


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The images DISK, and two others in a table of their own."""
    folder = folder_of(tmp_path / "in", *DISK, *OTHERS)
    write(folder / "other.csv", plain(zip(OTHERS, LABELS, strict=False)))
    return folder
