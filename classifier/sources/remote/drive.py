"""Copy a file that is shared on Google Drive."""

import importlib.util
import re
import sys
from pathlib import Path

from classifier.core.errors import UserError, not_installed
from classifier.core.wording import short

_RETRIES = 2
_TIMEOUT = 60  # seconds without a byte


def copy(url: str, place: Path, resume: bool) -> Path:
    """Bring the file that ``url``, ``gdrive:ID``, names into the folder ``place``.

    The file is called as on Drive. It appears whole or not at all.

    Args:
        url: the address.
        place: the folder for this URL alone, whose other files are removed.
        resume: whether a download that broke off goes on. Drive does not say which version of a
            file it sends, so that is for files with a checksum.

    Raises:
        UserError: the package is missing, or the file is not there, not shared with everybody, or
            asked for too often.
    """
    identity = url.partition(":")[2]
    if not re.fullmatch(r"[-\w]+", identity):
        raise UserError(
            f"download.url: {url} is no file of Google Drive: write gdrive:ID, where ID is what "
            "stands in the file's link between /d/ and /view."
        )
    if importlib.util.find_spec("gdown") is None:
        raise not_installed("gdown", "gdrive")
    import gdown
    import requests

    try:
        for file in place.iterdir() if place.is_dir() else ():
            if not (resume and file.name.endswith(".part")):
                file.unlink()
        copied = gdown.download(
            id=identity,
            output=f"{place.as_posix()}/",
            quiet=not sys.stderr.isatty(),
            use_cookies=False,
            resume=resume,
            timeout=_TIMEOUT,
            retries=_RETRIES,
        )
    except gdown.FileURLRetrievalError:
        raise UserError(
            f"download.url: {url} is not there, not shared with everybody, or was asked for too "
            "often: set its access to anyone with the link, or fetch it with a browser and set "
            "download.path."
        ) from None
    except (gdown.DownloadError, requests.RequestException) as error:
        reason = short(" ".join(str(error).split()))
        raise UserError(
            f"download.url: {url} cannot be had ({reason}): check the network and the address."
        ) from None
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror or error}).") from None
    return Path(str(copied))
