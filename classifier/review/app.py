"""The HTTP interface of the page; a decision is in the table before it is answered."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from classifier.core.errors import UserError
from classifier.review.desk import Desk
from classifier.review.keys import class_keys
from classifier.review.pictures import LARGEST
from classifier.web.files import send_files
from classifier.web.hosts import OwnNames
from classifier.web.origin import OwnOrigin

PAGE = Path(__file__).with_name("page")
_FOUND = {"cache-control": "private, max-age=3600"}  # an image's address names this process


class Decision(BaseModel):
    """What is decided about an image, and after which place of which queue to go on."""

    model_config = ConfigDict(extra="forbid")

    row: int
    action: Literal["class", "keep", "exclude"]
    label: str | None = None
    queue: str
    after: int


class Place(BaseModel):
    """A place of a queue."""

    model_config = ConfigDict(extra="forbid")

    queue: str
    place: int


def create_app(desk: Desk, names: Sequence[str] = ("localhost",)) -> FastAPI:
    """Build the application around a desk; requests to other ``names`` are refused."""
    token, version = secrets.token_urlsafe(24), secrets.token_hex(8)
    app = FastAPI(
        title="Review", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    @app.exception_handler(UserError)
    async def refused(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    # Not async: FastAPI runs them in threads, so that a slow image keeps nobody else waiting.

    @app.get("/desk")
    def opened() -> dict[str, Any]:
        """What the page needs once."""
        return {
            "token": token,
            "version": version,
            "classes": desk.classes,
            "keys": class_keys(desk.classes),
            "queues": [
                {"name": queue.name, "title": queue.title, "about": queue.about}
                for queue in desk.queues.values()
            ],
            **state(),
        }

    @app.get("/queues/{name}/next")
    def following(name: str, after: Annotated[int, Query(ge=-1)] = -1) -> dict[str, Any]:
        """The next image of a queue that nothing was decided about."""
        return {**state(), "item": next_item(name, after)}

    @app.get("/queues/{name}/{place}")
    def at_place(name: str, place: int) -> dict[str, Any]:
        """One place of a queue."""
        if not 0 <= place < len(_known(name, desk).rows):
            raise HTTPException(404, "There is no such place in the queue.")
        return {**state(), "item": desk.item(name, place)}

    @app.get("/rows/{row}")
    def any_image(row: int) -> dict[str, Any]:
        """An image that was met beside another."""
        return {**state(), "item": desk.image(_row(row, desk))}

    @app.get("/images/{_version}/{row}")
    def picture(
        _version: str, row: int, side: Annotated[int, Query(ge=16, le=LARGEST)] = LARGEST
    ) -> Response:
        """The pixels of an image."""
        try:
            data, kind = desk.pictures.encoded(_row(row, desk), side)
        except (ValueError, OSError) as error:
            raise HTTPException(404, f"The image cannot be read: {error}.") from None
        return Response(data, media_type=kind, headers=_FOUND)

    @app.post("/decisions")
    def decide(decision: Decision) -> dict[str, Any]:
        """Write a decision, and show what comes next."""
        queue = _known(decision.queue, desk)
        row = _row(decision.row, desk)
        reason = f"review: {queue.title.lower()}"
        said = desk.decide(row, decision.action, decision.label, reason)
        return {"said": said, "item": next_item(decision.queue, decision.after), **state()}

    @app.post("/undo")
    def undo(place: Place) -> dict[str, Any]:
        """Take the latest decision of this process back, and show its image."""
        queue = _known(place.queue, desk)
        name = desk.decisions.undo()
        if name is None:
            raise UserError("There is nothing to undo.")
        row = int(desk.manifest.rows([name])[0])
        found = [at for at, one in enumerate(queue.rows.tolist()) if one == row]
        item = desk.item(queue.name, found[0]) if found else desk.image(row)
        return {"said": f"{name}: taken back.", "item": item, **state()}

    @app.post("/restore")
    def restore() -> dict[str, Any]:
        """Write decisions again that somebody else took out of the table."""
        count = desk.decisions.restore()
        return {"said": f"{count:,} written again.", **state()}

    def state() -> dict[str, Any]:
        return {"counts": desk.counts(), "lost": len(desk.decisions.lost())}

    def next_item(name: str, after: int) -> dict[str, Any] | None:
        place = desk.next_place(_known(name, desk).name, after)
        return None if place is None else desk.item(name, place)

    names_of_files = ("page.css", "page.js", "icon.svg")
    send_files(app, {"/": PAGE / "index.html", **{f"/{one}": PAGE / one for one in names_of_files}})
    # The last one is the first that a request passes.
    app.add_middleware(OwnOrigin, token=token)
    app.add_middleware(OwnNames, allowed_hosts=names, www_redirect=False)
    return app


def _known(name: str, desk: Desk) -> Any:
    if name not in desk.queues:
        raise HTTPException(404, "There is no such queue.")
    return desk.queues[name]


def _row(row: int, desk: Desk) -> int:
    if not 0 <= row < len(desk.manifest):
        raise HTTPException(404, "There is no such image.")
    return row
