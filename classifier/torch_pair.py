"""The sentence for a torchvision that does not match torch, where it is first imported."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from classifier.errors import UserError


@contextmanager
def matching_pair() -> Iterator[None]:
    """Turn the failed import of a torchvision built for another torch into one sentence.

    torchvision registers its operators with the torch it was built against; beside any other it
    fails as it is imported, with ``operator torchvision::nms does not exist`` or a library that
    does not load.

    Raises:
        UserError: naming the two versions and the one to install.
    """
    try:
        yield
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        message = str(error)
        if "torchvision" not in message and "libtorch" not in message:
            raise
        raise UserError(_sentence(message)) from error


def _sentence(message: str) -> str:
    versions = {}
    for package in ("torch", "torchvision"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            return f"{package} is not installed: run `make setup`."
    torch, vision = versions["torch"], versions["torchvision"]
    return (
        f"torch {torch} and torchvision {vision} do not match ({message.splitlines()[0]}): install"
        f" torchvision {partner(torch)} from the same place as torch, or run `make setup`."
    )


def partner(torch: str) -> str:
    """The torchvision release that belongs to a torch release: 2.14.1 -> 0.29.1.

    Both are released together, torchvision 0.(n + 15) with torch 2.n, and have carried the same
    patch number since 2.1 (the table in torchvision's README).
    """
    found = re.fullmatch(r"2\.(\d+)\.(\d+)(\+\w+)?", torch)
    if found is None:  # a nightly build, or a release that this file has not heard of
        return "of the same date"
    minor, patch, build = found.groups()
    return f"0.{int(minor) + 15}.{patch}{build or ''}"
