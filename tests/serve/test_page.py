"""The page in a real browser: every way to bring in a picture, and what is said about it."""

import base64
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.test_page_browser import BROWSER, QUIET
from tests.support.servers import Server, png, serving
from tests.support.workspace import Workspace

pytest.importorskip("fastapi")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
DROP = """([files, id]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const key = id === "paste" ? "clipboardData" : "dataTransfer";
  const kind = id === "paste" ? ClipboardEvent : DragEvent;
  const options = { bubbles: true, cancelable: true, [key]: data };
  document.getElementById("drop").dispatchEvent(new kind(id, options));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests here, with a made-up camera."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=[*QUIET, *CAMERA])
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(finished: Workspace) -> Iterator[Server]:
    with serving(finished.path) as running:
        yield running


@pytest.fixture(scope="module")
def digits(finished: Workspace) -> tuple[list[bytes], list[str]]:
    pictures = np.load(finished.path / "data/prepared/test.npy")[:4]
    with (finished.path / "data/predictions/predictions.csv").open() as file:
        classes = [row["predicted"] for row in csv.DictReader(file)][:4]
    return [png(picture) for picture in pictures], classes


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page on a wide screen; what it asks for and complains of is noted."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(server.url)
    page.wait_for_selector("#example-list img")
    yield page
    own = (server.url, "blob:", "data:")
    assert [url for url in page.requests if not url.startswith(own)] == []
    context.close()


def bring(page: Any, how: str, *files: bytes) -> None:
    texts = [[f"{n}.png", base64.b64encode(data).decode()] for n, data in enumerate(files)]
    page.evaluate(DROP, [texts, how])


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_dropped_or_pasted_picture_is_answered_with_its_class(
    page: Any, how: str, digits: tuple[list[bytes], list[str]]
) -> None:
    bring(page, how, digits[0][0])
    page.wait_for_selector("#results > li")
    assert page.locator("#results .top").inner_text() == digits[1][0]
    assert page.locator("#results .bars li").count() == 5
    assert re.match(rf"{digits[1][0]}, \S+\s% sure, \d+ ms\.", page.inner_text("#status"))
    widths = page.locator("#results .bars i").evaluate_all("all => all.map(i => i.offsetWidth)")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 50
    assert page.complaints == []


def test_chosen_pictures_each_get_a_card(page: Any, digits: tuple[list[bytes], list[str]]) -> None:
    files = [
        {"name": f"{n}.png", "mimeType": "image/png", "buffer": data}
        for n, data in enumerate(digits[0])
    ]
    page.locator("#file").set_input_files(files)
    page.wait_for_selector("#results > li:nth-child(4)")
    assert page.locator("#results .top").all_inner_texts() == digits[1][::-1]
    assert page.locator("#results .name").all_inner_texts() == ["3.png", "2.png", "1.png", "0.png"]


def test_a_broken_picture_gets_a_sentence(page: Any, digits: tuple[list[bytes], list[str]]) -> None:
    bring(page, "drop", b"no picture at all")
    page.wait_for_selector("#status.problem")
    assert page.inner_text("#status") == "0.png: It is not an image of a known format."
    assert page.locator("#results > li").count() == 0
    bring(page, "drop", digits[0][0], digits[0][1][:-40])
    page.wait_for_selector("#results > li:nth-child(2)")
    assert page.inner_text("#status") == "1 of 2 pictures could not be read."
    assert "damaged" in page.inner_text("#results .top.problem")
    bring(page, "drop", *[b"x"] * 65)
    assert page.inner_text("#status") == "At most 64 pictures at a time, please."


def test_similar_training_pictures_come_on_request(
    page: Any, digits: tuple[list[bytes], list[str]]
) -> None:
    bring(page, "drop", digits[0][0])
    page.locator("#results .compare").click()
    page.wait_for_selector("#results .near li:nth-child(3)")
    assert page.inner_text("#status").startswith("The most similar training pictures: ")
    assert page.locator("#results .near li").all_inner_texts() == [digits[1][0]] * 3
    assert page.locator("#results .compare").count() == 0
    assert page.complaints == []


def test_the_heat_map_comes_and_goes(page: Any, digits: tuple[list[bytes], list[str]]) -> None:
    bring(page, "drop", digits[0][0])
    button = page.locator("#results .explain")
    button.click()
    page.wait_for_selector("#results .explain[aria-pressed=true]")
    picture = page.locator("#results img")
    assert picture.get_attribute("src").startswith("data:image/png")
    assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") == 224
    button.click()
    assert picture.get_attribute("src").startswith("blob:")
    assert page.complaints == []


def test_the_keyboard_is_enough(page: Any) -> None:
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.id || document.activeElement.ariaLabel")
        seen.append(focused)
        if str(focused).startswith("Test picture"):
            break
    assert seen[:2] == ["choose", "photograph"]
    label = seen[-1].rsplit(" ", 1)[1]
    page.keyboard.press("Enter")
    page.wait_for_selector("#results > li")
    assert page.locator("#results .top").inner_text() == label
    assert page.locator("#results .name").inner_text() == f"test picture of {label}"


def test_a_photo_is_taken_with_the_camera(page: Any) -> None:
    page.click("#photograph")
    page.locator("#video").evaluate(
        "v => v.videoWidth || new Promise((done) => v.addEventListener('loadedmetadata', done))"
    )
    page.click("#take")
    page.wait_for_selector("#results > li")
    assert page.locator("#results .name").inner_text() == "photo.jpg"
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_a_drawn_zero_is_a_zero(page: Any) -> None:
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    middle, radii = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2), (62, 105)
    for step in range(25):
        angle = 2 * np.pi * step / 24
        x, y = middle[0] + radii[0] * np.cos(angle), middle[1] + radii[1] * np.sin(angle)
        page.mouse.move(x, y)
        if step == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#results > li.sketch")
    assert page.locator("#results .top").inner_text() == "0"
    assert page.inner_text("#sketch").startswith("0, ")
    page.click("#clear")
    first = canvas.evaluate("c => c.getContext('2d').getImageData(140, 35, 1, 1).data[0]")
    assert first == 0


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(390, 844, "light"), (1280, 900, "light"), (1280, 900, "dark")]
)
def test_it_fits_every_screen(
    page: Any, tmp_path: Path, digits: tuple[list[bytes], list[str]],
    width: int, height: int, scheme: str,
) -> None:  # fmt: skip
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    bring(page, "drop", *digits[0][:2], b"broken")
    page.wait_for_selector("#results > li:nth-child(3)")
    page.locator("#results .explain").first.click()
    page.wait_for_selector("#results .explain[aria-pressed=true]")
    page.locator("#results img").first.evaluate("img => img.decode()")
    assert page.locator("#results .top").first.bounding_box()["y"] < height
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.locator("button:visible").evaluate_all(
        "all => all.filter(b => b.offsetHeight < 44 || b.offsetWidth < 44).map(b => b.id)"
    )
    assert small == []
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)


def test_a_server_that_went_away_is_said(browser: Any, finished: Workspace) -> None:
    with serving(finished.path) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("#example-list img")
        server.stop()
        bring(page, "drop", b"x")
        page.wait_for_selector("#status.problem")
        assert "The server does not answer" in page.inner_text("#status")
        page.close()
