"""What clients send, taken apart with a limit on everything. No address is ever fetched."""

import asyncio
import base64
import binascii
import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import Request
from PIL import Image
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from classifier.images import FORMATS, decode, to_array
from classifier.inference import Pictures
from classifier.modelfile import ModelSpec
from classifier.serve.limits import BODY_SECONDS, Limits, RefusedError
from classifier.serve.schema import PredictRequest

_DATA_ADDRESS = re.compile(r"data:[\w.+/;=-]*,", re.ASCII)
_DRAINED = 4  # times the limit that is read and thrown away, so that the client hears the refusal


class Upload(NamedTuple):
    """One picture as it came: its name, if it has one, and its encoded bytes."""

    name: str | None
    data: bytes


async def uploads(request: Request, limits: Limits) -> list[Upload]:
    """The pictures of a request: a multipart form of files, or JSON of base64 texts.

    Raises:
        RefusedError: 408 too slow, 413 too large or too many, 415 neither of the two kinds, 422
            not what it says.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/json"):
        raise RefusedError(
            415, "Send pictures as multipart/form-data, or as base64 texts in application/json."
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(request, limits.body_bytes)
    except TimeoutError:
        raise RefusedError(408, f"The request took longer than {BODY_SECONDS:.0f} s.") from None
    form = kind == "multipart/form-data"
    found = await _form(request, body, limits) if form else _json(body, limits)
    if not found:
        raise RefusedError(422, "The request holds no picture.")
    return found


async def _body(request: Request, most: int) -> bytes:
    # Content-Length may lie or be missing: what counts is what comes.
    body = bytearray()
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            body += part
        elif size > _DRAINED * most:
            break
        else:
            body.clear()
    if size > most:
        raise RefusedError(413, f"The request is larger than {most / 2**20:g} MiB.")
    return bytes(body)


async def _form(request: Request, body: bytes, limits: Limits) -> list[Upload]:
    async def replay() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, replay).form(  # type: ignore[arg-type]
            max_files=limits.files, max_fields=limits.files
        ) as form:
            files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            return [Upload(part.filename, await part.read()) for part in files]
    except HTTPException as error:
        if "Too many" in str(error.detail):
            raise _too_many(limits) from None
        raise RefusedError(422, "The form is damaged.") from None


def _json(body: bytes, limits: Limits) -> list[Upload]:
    try:
        texts = PredictRequest.model_validate_json(body).pictures
    except ValidationError:
        raise RefusedError(
            422, 'The JSON must be {"pictures": ["…", …]} with base64 texts of picture files.'
        ) from None
    if len(texts) > limits.files:
        raise _too_many(limits)
    return [Upload(None, _base64(text)) for text in texts]


def _base64(text: str) -> bytes:
    if re.match(r"[a-z]+://", text, re.IGNORECASE):
        raise RefusedError(422, "Addresses are never fetched: send the picture itself, as base64.")
    try:
        return base64.b64decode(_DATA_ADDRESS.sub("", text, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, "A picture is not valid base64.") from None


def _too_many(limits: Limits) -> RefusedError:
    return RefusedError(413, f"The request holds more than {limits.files} pictures.")


def pixels(data: bytes, spec: ModelSpec, limits: Limits) -> Pictures:
    """What the network gets of an encoded picture: uint8 [S, S, C], as training prepared it.

    Raises:
        RefusedError: 413 too many pixels, 415 no known format, 422 damaged; the sentence says.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
    except Image.DecompressionBombError:
        raise RefusedError(413, f"It has more than {limits.pixels:,} pixels.") from None
    except Image.UnidentifiedImageError:
        raise RefusedError(
            415, "It is empty." if not data else "It is not a picture of a known format."
        ) from None
    except Exception:  # decoders raise nearly anything on damaged bytes
        raise RefusedError(422, "It is damaged or cut off.") from None
    if width * height > limits.pixels:
        raise RefusedError(413, f"It has {width:,}×{height:,} pixels, more than {limits.pixels:,}.")
    size, resize = spec.image_size, spec.resize
    try:
        image = decode(data)
        return to_array(image, size, spec.channels, resize)  # type: ignore[arg-type]
    except ValueError as error:
        reason = str(error)
        raise RefusedError(422, f"It is {reason}." if reason.startswith("damaged") else
                           f"It cannot be read ({reason}).") from None  # fmt: skip
