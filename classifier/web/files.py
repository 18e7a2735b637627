"""The files of a page, by the paths that they are asked for; no others of their folder are sent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def send_files(app: FastAPI, files: Mapping[str, Path]) -> None:
    """Answer each path, say "/page.css", with its file."""
    for path, file in files.items():
        app.add_api_route(path, _sender(file), include_in_schema=False)


def _sender(path: Path) -> Any:
    async def send() -> FileResponse:
        kind = KINDS[path.suffix]
        return FileResponse(path, media_type=kind, headers={"cache-control": "no-cache"})

    return send
