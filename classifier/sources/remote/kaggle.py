"""Copy a data set or the files of a competition from Kaggle, into the cache of its own tools."""

import importlib.util
import zipfile
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from classifier.core.errors import UserError, not_installed
from classifier.core.wording import short

# How to sign in, as the end of a sentence.
_SIGN_IN = "set KAGGLE_API_TOKEN, or put the kaggle.json of kaggle.com/settings into ~/.kaggle"


class _Address(NamedTuple):
    """A data set (OWNER/NAME, perhaps with /versions/NUMBER) or a competition, and a path in it."""

    handle: str
    competition: bool
    path: str


def copy(url: str) -> tuple[Path, str, str]:
    """Bring what ``url`` names up to date.

    The address is ``kaggle:OWNER/NAME[/versions/NUMBER][/PATH]`` or
    ``kaggle:competitions/NAME[/PATH]``.

    Returns:
        The copy, a file or a folder; what to call it; and the address of this version, which is
        ``url`` where there are no versions.

    Raises:
        UserError: the package or the credentials are missing, the rules of a competition are not
            accepted, or there is no such thing.
    """
    address = _parse(url)
    if importlib.util.find_spec("kagglehub") is None:
        raise not_installed("kagglehub", "kaggle")
    import kagglehub
    import requests
    from kagglehub.exceptions import (
        BackendError,
        DataCorruptionError,
        KaggleApiHTTPError,
        UnauthenticatedError,
    )

    bring = kagglehub.competition_download if address.competition else kagglehub.dataset_download
    try:
        whole = Path(bring(address.handle))
    except UnauthenticatedError:
        raise UserError(f"download.url: {url} is for users of Kaggle: {_SIGN_IN}.") from None
    except KaggleApiHTTPError as error:
        status = None if error.response is None else error.response.status_code
        raise _refused(url, address, status) from None
    except (
        requests.RequestException, BackendError, DataCorruptionError, zipfile.BadZipFile,
        ValueError, OSError,
    ) as error:  # fmt: skip
        reason = short(" ".join(str(error).split()))
        raise UserError(
            f"download.url: {url} cannot be had ({reason}): check the network and the address."
        ) from None
    copied = whole / address.path
    if not copied.exists():
        raise UserError(f"download.url: there is nothing at {url}: check the path.")
    versioned = whole.parent.name == "versions" and "/versions/" not in address.handle
    handle = f"{address.handle}/versions/{whole.name}" if versioned else address.handle
    kind = "competitions/" if address.competition else ""
    pinned = f"kaggle:{kind}{handle}/{address.path}".rstrip("/")
    name = address.path or address.handle.partition("/versions/")[0]
    return copied, name.rpartition("/")[2], pinned


def _parse(url: str) -> _Address:
    parts = url.partition(":")[2].strip("/").split("/")
    if len(parts) < 2 or not all(parts) or {".", ".."}.intersection(parts):
        raise UserError(
            f"download.url: {url} is no address of Kaggle: write kaggle:OWNER/NAME or "
            "kaggle:competitions/NAME."
        )
    if parts[0] == "competitions":
        return _Address(parts[1], True, "/".join(parts[2:]))
    end = 4 if parts[2:3] == ["versions"] and parts[3:4] and parts[3].isdecimal() else 2
    return _Address("/".join(parts[:end]), False, "/".join(parts[end:]))


def _refused(url: str, address: _Address, status: int | None) -> UserError:
    if status == HTTPStatus.NOT_FOUND:
        return UserError(f"download.url: there is nothing at {url}: check the address.")
    if status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return UserError(f"download.url: {url} cannot be had (HTTP {status}): try again later.")
    rules = f"kaggle.com/competitions/{address.handle}/rules"
    accept = f", and accept the rules at {rules}" if address.competition else ""
    return UserError(f"download.url: {url} may not be read: {_SIGN_IN}{accept}.")
