"""The page in a real browser: every way to bring in a picture, and what is said about it."""

import base64
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

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
    assert page.locator("#results .top").all_inner_texts() == digits[1]
    names = page.locator("#results .name")
    assert names.all_inner_texts() == ["0.png", "1.png", "2.png", "3.png"]
    page.locator("#file").set_input_files(files[2:3])  # what comes later goes above
    page.wait_for_selector("#results > li:nth-child(5)")
    assert names.all_inner_texts() == ["2.png", "0.png", "1.png", "2.png", "3.png"]


def test_classes_are_told_until_99_percent_are_reached(page: Any, server: Server) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    for data in (png(noise), png(np.zeros((8, 8, 1), np.uint8))):
        form = [("pictures", ("x.png", data))]
        (said,) = httpx.post(f"{server.url}/predict?top=10", files=form).json()["predictions"]
        sums = np.cumsum([one["probability"] for one in said["classes"]])
        wanted = int(np.argmax(sums >= 0.99)) + 1
        before = page.locator("#results > li").count()
        bring(page, "drop", data)
        expect(page.locator("#results > li")).not_to_have_count(before)
        assert page.locator("#results > li").first.locator(".bars li").count() == wanted
    assert page.complaints == []


@pytest.mark.parametrize(
    ("answer", "classes", "told"),
    [
        ("a", [["a", 0.995], ["b", 0.005]], ["a"]),
        (None, [["a", 0.5], ["b", 0.2]], ["a", "b", "8 other classes"]),
        ("b", [["a", 0.994], ["b", 0.006]], ["a", "b"]),  # the answer, whatever its probability
        ("a", [["x", 0.0], ["a", 0.5], *[[f"{n}", 0.01] for n in range(7)]], None),
    ],
)
def test_what_is_left_is_told_as_others(
    page: Any, digits: tuple[list[bytes], list[str]], answer: str | None, classes: Any, told: Any
) -> None:
    found = {"name": "x.png", "answer": answer, "known": None, "error": None}
    found["classes"] = [{"class": name, "probability": p} for name, p in classes]
    page.route("**/predict?*", lambda route: route.fulfill(json={"predictions": [found]}))
    bring(page, "drop", digits[0][0])
    page.wait_for_selector("#results > li")
    names = page.locator("#results .bars li span:first-of-type").all_inner_texts()
    assert names == (told or [*(name for name, _ in classes), "one other class"])


@pytest.mark.parametrize(
    ("known", "text"), [(None, "Not sure"), (True, "Not sure"), (False, "None of these")]
)
def test_an_answer_that_is_no_class_is_said_with_the_first_guess(
    page: Any, digits: tuple[list[bytes], list[str]], known: bool | None, text: str
) -> None:
    guess = [{"class": "3", "probability": 0.61}]
    found = {"name": "x.png", "answer": None, "known": known, "classes": guess, "error": None}
    page.route("**/predict?*", lambda route: route.fulfill(json={"predictions": [found]}))
    bring(page, "drop", digits[0][0])
    page.wait_for_selector("#results > li")
    assert page.inner_text("#results .top") == text
    assert page.inner_text("#status").startswith(f"{text}; first guess 3, 61.0")


def test_test_pictures_are_offered_class_by_class(page: Any) -> None:
    shown = page.locator("#example-list li")
    assert len({*shown.all_inner_texts()}) == 10
    page.select_option("#example-class", "7")
    expect(shown).to_have_text(["7"] * 12)
    shown.last.locator("button").click()
    page.wait_for_selector("#results > li")
    assert page.inner_text("#results .name") == "test picture of 7"
    assert page.complaints == []


def test_a_page_says_how_programs_ask(page: Any, server: Server) -> None:
    page.click("footer a")
    page.wait_for_selector("section:nth-of-type(5)")
    assert page.inner_text("#curl") == f"curl -F pictures=@photo.jpg {server.url}/predict"
    paths = page.locator("h2 code").all_inner_texts()
    assert paths[0] == "POST /predict?top=…"
    assert {"GET /model", "GET /examples?class=…", "GET /health"} <= {*paths}
    assert "predictions[].answer" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.complaints == []


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
