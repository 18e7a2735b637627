"""Pictures as texts, in the ways in which common tools write base64."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from tests.support.servers import Server, png, serving
from tests.support.workspace import Workspace

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")


def picture() -> bytes:
    """A PNG whose base64 has lines, both letters of each alphabet and padding."""
    generator = np.random.default_rng(0)
    for _ in range(1000):
        size = generator.integers(9, 20)
        data = png(generator.integers(0, 256, (10, size, 1), dtype=np.uint8))
        text = base64.b64encode(data)
        if b"+" in text and b"/" in text and text.endswith(b"=="):
            return data
    raise AssertionError("no such picture")


def plain(data: bytes) -> str:
    return base64.b64encode(data).decode()


def address(data: bytes, kind: str = "image/png;base64") -> str:
    return f"data:{kind},{plain(data)}"


FORMS: dict[str, Callable[[bytes], str]] = {
    "base64 -w0, btoa": plain,
    "base64, base64.encodebytes": lambda data: base64.encodebytes(data).decode(),
    "lines of MIME": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "indented lines": lambda data: base64.encodebytes(data).decode().replace("\n", "\n\t  "),
    "blanks around": lambda data: f" \n{plain(data)}\n ",
    "alphabet for URLs": lambda data: base64.urlsafe_b64encode(data).decode(),
    "no padding": lambda data: plain(data).rstrip("="),
    "alphabet for URLs, no padding": lambda data: (
        base64.urlsafe_b64encode(data).decode().rstrip("=")
    ),
    "less padding": lambda data: plain(data)[:-1],
    "canvas.toDataURL": address,
    "an address with parameters": lambda data: address(data, "image/png;name=a b.png;base64"),
    "an address without kind": lambda data: address(data, ";base64"),
    "an address in capitals": lambda data: address(data, "IMAGE/PNG;BASE64").replace(
        "data", "DATA"
    ),
    "an address with escapes": lambda data: f"data:image/png;base64,{quote(plain(data), safe='')}",
    "an address with lines": lambda data: (
        f"\ndata:image/png;base64,\n{base64.encodebytes(data).decode()}"
    ),
}
NO_BASE64 = {
    "punctuation": "!!!!",
    "one letter too many": plain(b"abc") + "A",
    "padding in the middle": "eA==eA==",
    "letters of other scripts": "äöü=",
    "a file's name": "digit.png",
    "half a character": "\ud800",
}


@pytest.fixture(scope="module")
def server(finished: Workspace) -> Iterator[Server]:
    with serving(finished.path) as running:
        yield running
        assert running.log == []


def sent(server: Server, text: str | bytes) -> "httpx.Response":
    body = {"content-type": "application/json"}
    return httpx.post(f"{server.url}/predict", content=text, headers=body, timeout=30)


@pytest.fixture(scope="module")
def expected(server: Server) -> object:
    answer = sent(server, json.dumps({"pictures": [plain(picture())]}))
    assert answer.status_code == 200
    return answer.json()["predictions"][0]["classes"][0]


@pytest.mark.parametrize("form", FORMS)
def test_base_64_is_read_as_common_tools_write_it(
    server: Server, expected: dict[str, object], form: str
) -> None:
    answer = sent(server, json.dumps({"pictures": [FORMS[form](picture())]}))
    assert answer.status_code == 200, answer.text
    best = answer.json()["predictions"][0]["classes"][0]
    assert best["class"] == expected["class"]
    assert best["probability"] == pytest.approx(expected["probability"], abs=1e-5)


@pytest.mark.parametrize("mark", ["\n", "\r\n"])
def test_lines_that_a_shell_pastes_into_json_are_read(server: Server, mark: str) -> None:
    lines = base64.encodebytes(picture()).decode().replace("\n", mark)
    assert sent(server, '{"pictures": ["' + lines + '"]}').status_code == 200


@pytest.mark.parametrize("wrong", NO_BASE64)
def test_what_is_no_base64_is_told_in_its_place(server: Server, wrong: str) -> None:
    alone = sent(server, json.dumps({"pictures": [NO_BASE64[wrong]]}))
    assert alone.status_code == 422
    assert alone.json()["detail"].startswith(("It is not valid base64.", "The JSON must be"))
    if wrong != "half a character":  # of which no JSON is made
        both = sent(server, json.dumps({"pictures": [NO_BASE64[wrong], plain(picture())]}))
        first, second = both.json()["predictions"]
        assert first["error"] == "It is not valid base64."
        assert second["error"] is None


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("base64")), reason="needs curl and base64"
)
def test_the_commands_of_the_page_work_as_they_stand(
    server: Server, finished: Workspace, tmp_path: Path
) -> None:
    text = (finished.path / "docs/serving.md").read_text().split("## HTTP", 1)[1]
    text = text.replace("http://127.0.0.1:8000", server.url)
    shell = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "b.jpg").write_bytes(picture())
    (tmp_path / "code.py").write_text(code[0])

    def said(command: str) -> str:
        ended = subprocess.run(
            ["bash", "-ec", command], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return ended.stdout

    commands = next(block for block in shell if "curl" in block)
    answers = [json.loads(line) for line in said(commands).replace("}{", "}\n{").splitlines()]
    found = [one for answer in answers for one in answer["predictions"]]
    assert [one["name"] for one in found] == ["a.png", "b.jpg", None]
    assert [one["error"] for one in found] == [None] * 3
    # The last bits of a picture's numbers depend on how many are read together.
    for alone, beside in zip(found[2]["classes"], found[0]["classes"], strict=False):
        assert alone["class"] == beside["class"]
        assert alone["probability"] == pytest.approx(beside["probability"], abs=1e-5)
    assert "a.png" in said(f"{sys.executable} code.py")
