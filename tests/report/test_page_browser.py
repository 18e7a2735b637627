"""The report in a real browser, without a screen and without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier.report.changes import Changes
from classifier.report.figures.collection import draw_all
from classifier.report.page import PlotParams, write_report
from classifier.report.results import Results
from tests.support.synthetic_results import make

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests here."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield found
        found.close()


@pytest.fixture(scope="module", params=[(2, 8, 1, 40), (100, 32, 3, 400)], ids=["2", "100"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of few and of many classes."""
    classes, size, channels, test = request.param
    root = tmp_path_factory.mktemp("workspace")
    results = Results.open(make(root, classes, size, channels, test))
    drawn = draw_all(results, root / "figures", 32)
    path = root / "report.html"
    write_report(path, results, drawn, root / "figures", Changes(missing="none"), PlotParams())
    return path


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report on a phone; what the browser complains of or asks for is noted."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    context.close()


def test_opens_quietly_with_all_its_images_and_asks_for_nothing(page: Any, report: Path) -> None:
    images = page.locator("img")
    assert images.count() > 60
    assert images.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    outside = [url for url in page.requests if not url.startswith("data:")]
    assert outside == [report.as_uri()]
    assert page.complaints == []


@pytest.mark.parametrize("width", [390, 1600])
def test_never_scrolls_sideways(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.locator("summary").evaluate_all("all => all.forEach(one => one.parentNode.open = true)")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


def test_tables_sort_both_ways_by_number_and_by_name(page: Any) -> None:
    def column(number: int) -> list[str]:
        return page.locator(f"#classes tbody tr > :nth-child({number})").all_inner_texts()

    f1 = page.locator("#classes thead button", has_text="F1")
    place = page.locator("#classes thead button").all_inner_texts().index("F1") + 1
    f1.click()
    falling = [text.split()[0] for text in column(place)]
    assert falling == sorted(falling, key=float, reverse=True)
    assert page.locator("#classes th[aria-sort=descending]").count() == 1
    f1.click()
    assert [text.split()[0] for text in column(place)] == sorted(falling, key=float)
    page.locator("#classes thead button", has_text="class").click()
    assert page.locator("#classes th[aria-sort=ascending]").inner_text().startswith("class")
    assert sorted(column(1)) == sorted(set(column(1)))

    errors = page.locator("#errors tbody tr")
    everything = errors.count()
    assert everything > 0
    page.locator("#errors thead button", has_text="probability").click()
    values = page.locator("#errors tbody td:nth-child(4)").all_inner_texts()
    assert values == sorted(values, reverse=True)
    page.locator("[data-filter=errors]").fill("no such class")
    assert page.locator("#errors tbody tr:visible").count() == 0


def test_a_chart_opens_at_full_size_and_closes(page: Any) -> None:
    page.locator("#confusion .chart:not([hidden])").click()
    assert page.locator("dialog[open] img").is_visible()
    page.locator("dialog button").click()
    assert page.locator("dialog[open]").count() == 0


def test_dark_page_has_light_text_on_dark(page: Any) -> None:
    page.emulate_media(color_scheme="dark")
    colors = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    dark, light = (sum(map(int, text[4:-1].split(","))) / 3 for text in colors)
    assert dark < 40
    assert light > 200


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_nothing_of_the_first_answers_is_cut_off(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    values = page.locator(".splits, .splits span")
    values.locator("small").evaluate_all(
        "all => all.forEach(one => { one.nextSibling.data = ' 100.00 %'; })"
    )
    assert values.count() >= 3
    assert values.evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth + 1)")
    cards = page.locator(".answers > li")
    tops = cards.evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    rows = [tops.count(top) for top in sorted(set(tops))]
    assert rows == ([4] if width == 1400 else [2, 2])
