"""Bring a file of weights from the Hugging Face Hub, or from another address, and check it."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError
from classifier.core.files import sha256
from classifier.core.wording import short
from classifier.sources.remote.fetch import fetch, url_name
from classifier.sources.remote.transfer import RemoteFile
from classifier.weights.published import Published

# Of a repository of the Hub, the first that there is: no pickle where it can be had.
_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Brought:
    """A file of weights here, where it came from, and what its publisher said of its license.

    ``revision`` is the commit of the Hub that it is of.
    """

    path: Path
    source: str
    sha256: str
    revision: str = ""
    license: str = ""


def bring(name: str, weights: Published, cache: Path) -> Brought:
    """Bring the weights that a library publishes.

    Args:
        name: as the user gave it, perhaps without a tag.
        weights: what it stands for.
        cache: a folder for what comes from elsewhere than the Hub, whose library has its own.

    Raises:
        UserError: they cannot be had, or are not what was announced; it names the ways on.
    """
    if weights.repository:
        return _from_hub(name, weights.repository)
    if weights.url:
        return from_url(name, weights.url, cache, hashed=True)
    raise UserError(
        "nobody publishes its weights in a form that can be brought; give a file: "
        f"python -m classifier weights {name} FILE"
    )


def _from_hub(name: str, repository: str) -> Brought:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        # The files of the commit that is found here, whatever is committed meanwhile.
        info = HfApi().model_info(repository, files_metadata=True)
        files: dict[str, Any] = {file.rfilename: file for file in info.siblings or ()}
        chosen = next(file for file in _FILES if file in files)
        revision = str(info.sha)
        path = Path(hf_hub_download(repository, chosen, revision=revision))
    except StopIteration:
        raise UserError(f"{repository} of the Hub has no {' or '.join(_FILES)}") from None
    except RepositoryNotFoundError:  # what the Hub also says to those who may not know
        raise UserError(
            f"{repository} is not on the Hub, or a private or gated one: ask for access on its "
            "page, and run hf auth login or set HF_TOKEN"
        ) from None
    except Exception as error:  # of several libraries, without a common base
        reason = short(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(
            f"{repository} of the Hub cannot be read ({reason}): {_ways_on(name)}"
        ) from None
    source = f"https://huggingface.co/{repository}"
    stored = files[chosen].lfs
    found = sha256(path)
    if stored and found != stored.sha256:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise UserError(
            f"{chosen} of {source} came damaged: its SHA-256 is {found}, and not "
            f"{stored.sha256}; it was removed: run the same command again"
        )
    card = getattr(info.card_data, "license", None)
    return Brought(path, source, found, revision, card if isinstance(card, str) else "")


def from_url(name: str, url: str, cache: Path, *, hashed: bool = False) -> Brought:
    """Bring the file behind an address.

    Args:
        hashed: its name states the start of its SHA-256, as torch's hub has it.
    """
    file = RemoteFile(url_name(url))
    path = fetch(file, [url], cache, ways_on=_ways_on(name))
    found = sha256(path)
    stated = re.search(r"-([0-9a-f]{8,})\.", file.name)
    if hashed and stated and not found.startswith(stated[1]):
        path.unlink()
        raise UserError(
            f"{url} gave a file whose SHA-256 does not start with {stated[1]} as its name says; it "
            "was removed: run the same command again"
        )
    return Brought(path, url, found)


def _ways_on(name: str) -> str:
    return (
        f"check the network, or run the same command on a machine with one and copy "
        f"models/pretrained/{name}.safetensors here, or bring the file itself: "
        f"python -m classifier weights {name} FILE"
    )
