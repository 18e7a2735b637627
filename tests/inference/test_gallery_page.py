"""The gallery of `predict` in a real browser: sorted, and filtered by answer and confidence."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.inference.inputs import InputImage, folder_of
from classifier.inference.outputs import gallery
from classifier.inference.predict import Answer
from classifier.models.decision import Decision
from tests.report.test_page_browser import BROWSER, QUIET

CLASSES = ("cat", 'a "dog" <b>', "not sure?")
RULE = Decision(not_sure_below=0.6, known_by="energy", known_from=0.0)
# name, probabilities, how well known
IMAGES = [
    ("in/b/10.png", (0.9, 0.06, 0.04), 1),
    ("in/b/9.png", (0.1, 0.7, 0.2), 1),
    ("in/a.png", (0.5, 0.3, 0.2), 1),
    ("in/c.png", (0.99, 0.0, 0.01), -1),
]


def page_of(path: Path, asked: str) -> None:
    with gallery(path, CLASSES, RULE, start=folder_of([asked])) as write:
        for name, probabilities, known in IMAGES:
            scored = np.array([*probabilities, known], np.float32)
            write(Answer(InputImage(name, name), np.zeros((8, 8, 1), np.uint8), scored))


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        (["in"], "b/10.png"),
        (["./in/"], "b/10.png"),
        (["in/b"], "10.png"),
        (["in/**/*.png"], "b/10.png"),
        (["in/b/10.png"], "10.png"),
        (["in/b", "in/c.png"], "b/10.png"),
        (["in", "other"], "in/b/10.png"),
        (["in", "/other"], "in/b/10.png"),
    ],
)
def test_names_begin_at_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], first: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/b").mkdir(parents=True)
    with gallery(Path("g.html"), CLASSES, start=folder_of(asked)) as write:
        name, scored = "in/b/10.png", np.array([1, 0, 0, 1], np.float32)
        write(Answer(InputImage(name, name), np.zeros((8, 8, 1), np.uint8), scored))
        listed = InputImage("in/b/listed.png", "x", listed=True)
        write(Answer(listed, np.zeros((8, 8, 1), np.uint8), scored))
    names = re.findall("<small>(.*?)</small>", Path("g.html").read_text())
    assert names == [first, "in/b/listed.png"]  # a table's own names stay


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")
def test_it_is_sorted_and_filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("playwright.sync_api")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    page_of(tmp_path / "g.html", "in")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        page = browser.new_page(viewport={"width": 390, "height": 800})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"file://{tmp_path / 'g.html'}")
        _check(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert complaints == []
        browser.close()


def _check(page: Any) -> None:
    def names() -> list[str]:
        return page.locator("#tiles li:visible small").all_inner_texts()  # type: ignore[no-any-return]

    assert page.locator("#answer option").all_inner_texts() == [
        "all (4)",
        "cat (1)",
        'a "dog" <b> (1)',
        "not sure (1)",
        "none of these (1)",
    ]
    given = ["b/10.png", "b/9.png", "a.png", "c.png"]
    assert names() == given
    orders = {
        "rising": ["a.png", "b/9.png", "b/10.png", "c.png"],
        "falling": ["c.png", "b/10.png", "b/9.png", "a.png"],
        "answer": given,
        "name": ["a.png", "b/9.png", "b/10.png", "c.png"],
        "given": given,
    }
    for order, wanted in orders.items():
        page.select_option("#order", order)
        assert names() == wanted
    page.fill("#low", "60")
    assert names() == ["b/10.png", "b/9.png", "c.png"]
    page.fill("#high", "89")
    assert names() == ["b/9.png"]
    assert page.inner_text("#count") == "1 shown"
    page.fill("#low", "")
    page.fill("#high", "")
    for place, name in enumerate(given, 1):
        page.select_option("#answer", index=place)
        assert names() == [name]
    page.select_option("#answer", "")
    assert names() == given
