"""A torchvision that does not match torch is one sentence, not a traceback."""

import pytest

from classifier.errors import UserError
from classifier.torch_pair import matching_pair, partner


@pytest.mark.parametrize(
    ("torch", "torchvision"),
    [("2.14.1", "0.29.1"), ("2.11.0+cpu", "0.26.0+cpu"), ("2.8.0+cu128", "0.23.0+cu128")],
)
def test_the_partner_of_a_release(torch: str, torchvision: str) -> None:
    assert partner(torch) == torchvision


def test_nightly_builds_have_no_known_partner() -> None:
    assert partner("2.15.0.dev20260101") == "of the same date"
    assert partner("3.0.0") == "of the same date"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        ImportError("/site-packages/torchvision/_C.so: undefined symbol: _ZN3c10"),
        OSError("libtorch_cuda.so: cannot open shared object file"),
    ],
)
def test_the_sentence_says_what_to_install(error: Exception) -> None:
    sentence = r"torch \S+ and torchvision \S+ do not match .*install"
    with pytest.raises(UserError, match=sentence), matching_pair():
        raise error


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="something else"), matching_pair():
        raise RuntimeError("something else")
