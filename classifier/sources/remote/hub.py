"""Copy a data set, or a part of it, from the Hugging Face Hub into the cache of its own tools."""

import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from classifier.core.errors import UserError, not_installed
from classifier.core.wording import short


class _Address(NamedTuple):
    """A data set's repository, its branch, tag or commit, and a path in it; empty: all of it."""

    repository: str
    revision: str | None
    path: str


def copy(url: str) -> tuple[Path, str, str]:
    """Bring what ``url`` names, ``hf://datasets/OWNER/NAME[@REVISION][/PATH]``, up to date.

    The library keeps each file by its content, and a file appears there whole or not at all.

    Returns:
        The copy, a file or a folder; what to call it; and the address of this very commit.

    Raises:
        UserError: the package is missing, or there is no such data set, revision or path, or none
            that this user may read.
    """
    address = _parse(url)
    if importlib.util.find_spec("huggingface_hub") is None:
        raise not_installed("huggingface_hub", "hf")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    part = [address.path, f"{address.path}/*"] if address.path else None
    try:
        snapshot = Path(
            snapshot_download(
                address.repository,
                repo_type="dataset",
                revision=address.revision,
                allow_patterns=part,
            )
        )
    except RepositoryNotFoundError:  # what the Hub also says to those who may not know
        raise UserError(
            f"download.url: {url} is no data set, or a private or gated one: check the address, "
            "ask for access on its page, and run hf auth login or set HF_TOKEN."
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"download.url: {url} has no branch, tag or commit of that name.") from None
    except (OSError, ValueError) as error:
        reason = short(" ".join(str(error).split()))
        raise UserError(
            f"download.url: {url} cannot be had ({reason}): check the network and the address."
        ) from None
    copied = snapshot / address.path
    if not copied.exists() or not any(snapshot.iterdir()):
        raise UserError(f"download.url: there is nothing at {url}: check the path.")
    pinned = f"hf://datasets/{address.repository}@{snapshot.name}/{address.path}".rstrip("/")
    return copied, (address.path or address.repository).rpartition("/")[2], pinned


def _parse(url: str) -> _Address:
    path = url.partition("://")[2].strip("/")
    parts = path.removeprefix("datasets/").split("/")
    name, _, revision = parts[1].partition("@") if len(parts) > 1 else ("", "", "")
    if not path.startswith("datasets/") or not parts[0] or not name:
        raise UserError(
            f"download.url: {url} is no address of a data set: write hf://datasets/OWNER/NAME, and "
            "perhaps @REVISION and /PATH behind it."
        )
    return _Address(f"{parts[0]}/{name}", unquote(revision) or None, "/".join(parts[2:]))
