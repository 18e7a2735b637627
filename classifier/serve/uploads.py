"""What clients send, taken apart with a limit on everything. No address is ever fetched."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import unquote

from fastapi import Request

from classifier.core.resize import to_array
from classifier.core.types import UInt8Array
from classifier.images.decode import decode
from classifier.images.formats import UnknownFormatError
from classifier.images.limits import TooLargeError
from classifier.models.spec import ModelSpec
from classifier.serve import form
from classifier.serve.budget import Budget
from classifier.serve.limits import BODY_SECONDS, Limits, RefusedError
from classifier.serve.schema import PredictRequest

_DATA_ADDRESS = re.compile(r"\s*data:[^,]*,", re.IGNORECASE)
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


class Upload(NamedTuple):
    """One picture as it came: its name, if it has one, and its encoded bytes or their base64."""

    name: str | None
    data: bytes | str


@asynccontextmanager
async def uploads(
    request: Request, client: str, limits: Limits, budget: Budget
) -> AsyncIterator[list[Upload]]:
    """The pictures of a request: a multipart form of files, or JSON of base64 texts.

    Its bytes are taken from ``budget`` while they are read, and until the block ends.

    Raises:
        RefusedError: 408 too slow, 413 too large or too many, 415 neither of the two kinds, 422
            not what it says, 429 the client's budget is spent, 503 that of all clients is.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/json"):
        raise RefusedError(
            415, "Send pictures as multipart/form-data, or as base64 texts in application/json."
        )
    announced = int(request.headers.get("content-length", 0))
    # A client that asks first (Expect: 100-continue) hears this before it sends anything.
    if announced > limits.body_bytes:
        raise _too_large(limits)
    with budget.share(client, announced) as take:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = bytearray(b"" if kind == "application/json" else form.START)
                await _read(request, body, limits, take)
            read = _json if kind == "application/json" else _form
            found = read(request, body, limits)
            if not found:
                raise RefusedError(422, "The request holds no picture.")
        except TimeoutError:
            refused = RefusedError(408, f"The request took longer than {BODY_SECONDS:.0f} s.")
        except RefusedError as refusal:
            # Anew, as its traceback holds on to what was read.
            refused = RefusedError(refusal.status, refusal.sentence)
        else:
            yield found
            return
    raise refused


async def _read(
    request: Request, body: bytearray, limits: Limits, take: Callable[[int], None]
) -> None:
    size = 0  # the header may be missing: what counts is what comes
    async for part in request.stream():
        size += len(part)
        if size > limits.body_bytes:
            raise _too_large(limits)
        take(len(part))
        body += part


def _form(request: Request, body: bytearray, limits: Limits) -> list[Upload]:
    try:
        found = form.files(request.headers["content-type"], body, 2 * limits.files)
    except form.TooManyPartsError:
        raise _too_many(limits) from None
    except ValueError:
        raise RefusedError(422, "The form is damaged.") from None
    if len(found) > limits.files:
        raise _too_many(limits)
    return [Upload(file.name, file.data) for file in found]


def _json(_: Request, body: bytearray, limits: Limits) -> list[Upload]:
    # One comma after each picture, and one in its data: address. Before anything is taken apart,
    # since millions of small values take many times the memory of their text.
    if body.count(b",") > 2 * limits.files:
        raise _too_many(limits)
    try:
        # Not strict: a shell pastes base64 with its line breaks.
        texts = PredictRequest.model_validate(json.loads(body, strict=False)).pictures
    except (ValueError, RecursionError):
        raise RefusedError(
            422, 'The JSON must be {"pictures": ["…", …]} with base64 texts of picture files.'
        ) from None
    if len(texts) > limits.files:
        raise _too_many(limits)
    # A letter that base64 does not have may make each one of the text four bytes wide.
    return [Upload(None, text.encode("ascii", "replace").decode()) for text in texts]


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"The request is larger than {limits.body_bytes / 2**20:g} MiB.")


def _too_many(limits: Limits) -> RefusedError:
    return RefusedError(413, f"The request holds more than {limits.files} pictures.")


def pixels(data: bytes | str, spec: ModelSpec, limits: Limits) -> UInt8Array:
    """What the network gets of an encoded picture: uint8 [S, S, C], as training prepared it.

    Args:
        data: the bytes of a file, or their base64 as any tool writes it.
        spec: of the model.
        limits: of the server.

    Raises:
        RefusedError: 413 too costly to decode, 415 no known format, 422 damaged; the sentence says.
    """
    if isinstance(data, str):
        data = _decoded(data)
    if not data:
        raise RefusedError(415, "It is empty.")
    enough = spec.resize.enough(spec.image_size)
    try:
        image = decode(data, spec.value_range, limits.pixels, enough=enough)
    except TooLargeError as error:
        raise RefusedError(413, f"It is too large: {error}.") from None
    except UnknownFormatError as error:
        raise RefusedError(415, f"It is {error}.") from None
    except ValueError as error:
        reason = str(error)
        raise RefusedError(422, f"It is {reason}." if reason.startswith("damaged") else
                           f"It cannot be read ({reason}).") from None  # fmt: skip
    return to_array(image, spec.image_size, spec.channels, spec.resize)


def _decoded(text: str) -> bytes:
    """With line breaks or without, as data: address, in either alphabet, padded or not."""
    if re.match(r"\s*[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        raise RefusedError(422, "Addresses are never fetched: send the picture itself, as base64.")
    if address := _DATA_ADDRESS.match(text):
        text = unquote(text[address.end() :])
    try:
        letters = text.encode("ascii").translate(_URL_ALPHABET, b" \t\r\n\f\v").rstrip(b"=")
        return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except ValueError:
        raise RefusedError(422, "It is not valid base64.") from None
