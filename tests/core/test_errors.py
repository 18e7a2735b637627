"""What a machine lacks is said in one sentence."""

import errno
from pathlib import Path

import numpy as np
import pytest

from classifier.core.errors import of_the_machine


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left", "a.npy"), "the disk is full (a.npy): free some"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full: free some space"),
        (OSError("640 requested and 128 written"), "the disk is full: free some"),
        (OSError(errno.EROFS, "Read-only file system", "data"), "data is not to be had (Read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a is not to be had (Permission"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open: raise the limit"),
        (OSError(errno.EIO, "Input/output error", "x"), "x cannot be used (Input/output error)."),
        (MemoryError(), "the memory did not suffice: free some"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory did not suffice: free"),
        (ImportError("a.so: failed to map segment from shared object"), "the memory did not"),
        (ValueError("Input array could not be made C-contiguous"), "the memory did not suffice"),
        (RuntimeError("can't start new thread"), "no thread could be started: allow this process"),
    ],
)
def test_each_has_its_sentence(error: Exception, sentence: str) -> None:
    assert str(of_the_machine(error)).startswith(sentence)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError("no number"), ImportError("x")])
def test_bugs_stay_bugs(error: Exception) -> None:
    assert of_the_machine(error) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_what_numpy_says_of_a_full_disk_is_known() -> None:
    with Path("/dev/full").open("wb") as file, pytest.raises(OSError) as caught:  # noqa: PT011
        np.ones(10_000).tofile(file)
    assert "the disk is full" in str(of_the_machine(caught.value))
