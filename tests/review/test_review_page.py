"""The page in a real browser, and what its server refuses."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import expect

from tests.report.test_page_browser import BROWSER, QUIET
from tests.support import review_project
from tests.support.review_project import UNLABELLED
from tests.support.servers import Server, serving

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome")
HEADER = "id,action,label,reason,date\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("review")
    review_project.made_up(root)
    return root


@pytest.fixture
def table(project: Path) -> Path:
    """The table of corrections, empty."""
    path = project / "data/corrections.csv"
    path.write_text(HEADER)
    return path


@pytest.fixture
def server(project: Path, table: Path) -> Iterator[Server]:
    with serving(project, verb="review") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(server.url)
    page.wait_for_selector("#guesses li")
    yield page
    assert [url for url in page.requests if not url.startswith(server.url)] == []
    context.close()


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def shown(page: Any) -> str:
    return str(page.inner_text("#name"))


def another_than(page: Any, name: str) -> None:
    """Wait until an image of another name is shown.

    (`expect`, not `wait_for_function`: that one evaluates a string in the page, which the page's
    content security policy forbids from the second look on.)
    """
    expect(page.locator("#name")).not_to_have_text(name)


def pressed(page: Any, key: str) -> str:
    """Press a key, and wait until another image is shown: its id."""
    before = shown(page)
    page.keyboard.press(key)
    another_than(page, before)
    return shown(page)


@needs_browser
def test_a_queue_is_worked_through_with_keys_alone(page: Any, table: Path) -> None:
    first = shown(page)
    assert page.evaluate("document.activeElement.id") == "name"
    suggested = page.locator("#classes .suggested")
    name, key = suggested.get_attribute("data-name"), suggested.get_attribute("data-key")
    assert page.inner_text("#why").startswith(f"A model of another fold says {name}; the")
    second = pressed(page, key)
    page.wait_for_selector("#image:not(.waiting)")
    (row,) = rows(table)
    assert (row["id"], row["action"], row["label"]) == (first, "relabel", name)
    assert row["reason"] == "review: likely label errors"
    third = pressed(page, "k")
    fourth = pressed(page, "x")
    said = page.inner_text("#status")
    assert said.startswith(f"{third}: excluded. Image 4 of ")
    assert {one["id"]: one["action"] for one in rows(table)} == {
        first: "relabel", second: "keep", third: "exclude"
    }  # fmt: skip
    assert pressed(page, "u") == third
    assert "taken back" in page.inner_text("#status")
    assert pressed(page, "n") == fourth
    assert pressed(page, "p") == third
    assert sorted(one["id"] for one in rows(table)) == sorted([first, second])
    assert pressed(page, "p") == second
    assert "keep" in page.inner_text("#decision")
    assert page.complaints == []


@needs_browser
def test_the_mouse_and_a_screen_reader_can_do_the_same(page: Any, table: Path) -> None:
    first = shown(page)
    button = page.get_by_role("button", name="Exclude")
    button.click()
    another_than(page, first)
    assert rows(table)[0]["action"] == "exclude"
    assert page.evaluate("document.activeElement.id") == "exclude", "the focus stays"
    status = page.get_by_role("status")
    assert status.get_attribute("aria-live") == "polite"
    page.get_by_role("button", name="Unlabeled").click()
    page.wait_for_selector("#keep:disabled")
    assert page.locator("#queues [aria-current=true]").inner_text() == f"Unlabeled ({UNLABELLED})"
    before = shown(page)
    page.get_by_role("button", name="owl").click()
    another_than(page, before)
    assert {row["id"]: row["action"] for row in rows(table)}[before] == "label"
    page.get_by_role("button", name="Rejected files").click()
    page.wait_for_selector("#actions", state="hidden")
    assert shown(page) == "<b>broken</b>.png"
    assert page.inner_text("#why") == "Refused: it is cut off."
    page.keyboard.press("x")
    assert len(rows(table)) == 2
    unnamed = page.locator("button, input, img, a").evaluate_all(
        "all => all.filter(one => one.offsetParent && !one.ariaLabel && !one.textContent.trim()"
        " && !one.labels?.length && !one.hasAttribute('alt')).map(one => one.outerHTML)"
    )
    assert unnamed == []


@needs_browser
def test_the_last_decision_of_a_queue_can_be_undone(page: Any, table: Path) -> None:
    page.get_by_role("button", name="Near-duplicates").click()
    page.wait_for_selector("#neighbors .pair")
    last = shown(page)
    page.get_by_role("button", name="Keep the label").click()
    page.wait_for_selector("#seen", state="hidden")
    assert "Nothing is left to decide in this queue" in page.inner_text("#status")
    page.keyboard.press("x")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_selector("#seen")
    assert shown(page) == last
    assert rows(table) == []


@needs_browser
def test_of_many_classes_the_likeliest_are_offered_and_all_can_be_named(
    browser: Any, tmp_path: Path
) -> None:
    review_project.many(tmp_path, 400, kinds=60)
    table = tmp_path / "data/corrections.csv"
    with serving(tmp_path, verb="review") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("#guesses li")
        offered = page.locator("#classes button")
        assert 5 <= offered.count() <= 7
        guessed = page.locator("#guesses li span").first.inner_text()
        first = shown(page)
        second = pressed(page, page.locator(f'[data-name="{guessed}"]').get_attribute("data-key"))
        page.get_by_label("Another class").fill("class 77")
        page.keyboard.press("Enter")
        page.wait_for_selector("#status.problem")
        assert page.inner_text("#status") == "class 77 is not a class."
        page.get_by_label("Another class").fill("class 57")
        page.keyboard.press("Enter")
        another_than(page, second)
        done = {row["id"]: (row["action"], row["label"]) for row in rows(table)}
        assert done[first] == ("relabel", guessed)
        assert done[second] in (("relabel", "class 57"), ("keep", ""))
        page.close()


@needs_browser
def test_keys_can_be_switched_off(page: Any, table: Path) -> None:
    page.get_by_label("Single keys decide").uncheck()
    before = shown(page)
    page.keyboard.press("x")
    page.get_by_role("button", name="Next").click()
    another_than(page, before)
    assert rows(table) == []


@needs_browser
def test_a_neighbor_can_be_looked_at_and_the_queue_goes_on_where_it_was(
    page: Any, table: Path
) -> None:
    first = shown(page)
    page.locator("#neighbors button").first.click()
    another_than(page, first)
    assert page.inner_text("#status").startswith("Image beside the queue")
    neighbor = shown(page)
    assert pressed(page, "x") == first
    assert [row["id"] for row in rows(table)] == [neighbor]
    page.get_by_role("button", name="Near-duplicates").click()
    page.wait_for_selector("#neighbors .pair")
    assert page.locator("#neighbors .pair").get_attribute("aria-label").startswith("The other of")


@needs_browser
def test_what_somebody_makes_of_the_table_meanwhile_is_said(page: Any, table: Path) -> None:
    first = shown(page)
    pressed(page, "x")
    table.write_text("nonsense\n")
    page.keyboard.press("x")
    page.wait_for_selector("#status.problem")
    assert "the first line must be id,action,label,reason,date" in page.inner_text("#status")
    assert table.read_text() == "nonsense\n"
    table.write_text(HEADER + "0007,keep,,,2026-03-31\n")
    pressed(page, "n")
    page.wait_for_selector("#lost:visible")
    assert page.inner_text("#lost").startswith("1 decision of this session are no longer")
    page.click("#restore")
    page.wait_for_selector("#lost", state="hidden")
    assert [row["id"] for row in rows(table)] == sorted(["0007", first])


@needs_browser
@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(390, 844, "light"), (1400, 900, "light"), (1400, 900, "dark")]
)
def test_it_fits_every_screen(
    browser: Any, server: Server, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#neighbors img")
    page.locator("#image").evaluate("image => image.decode()")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#classes button").first.bounding_box()["y"] < height
    small = page.locator("button:visible").evaluate_all(
        "all => all.filter(b => b.offsetHeight < 44 || b.offsetWidth < 44).map(b => b.outerHTML)"
    )
    assert small == []
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    context.close()


def post(server: Server, path: str, body: dict[str, Any], **headers: str) -> int:
    token = httpx.get(f"{server.url}/desk").json()["token"]
    own = {"origin": server.url, "x-page-token": token, **headers}
    return int(httpx.post(f"{server.url}{path}", json=body, headers=own).status_code)


def test_nobody_else_can_decide(server: Server, table: Path) -> None:
    """Other sites, whose pages a browser lets send forms here, and names that are not ours."""
    body = {"row": 0, "action": "exclude", "queue": "uncertain", "after": -1}
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": server.url.replace("http", "https")},
        {"origin": f"{server.url}.evil.example"},
        {"x-page-token": ""},
        {"x-page-token": "guess"},
        {"x-page-token": "ü".encode("latin-1").decode("latin-1")},
    ):
        headers = {name: value.encode("latin-1") for name, value in headers.items()}
        for path in ("/decisions", "/undo", "/restore"):
            assert post(server, path, body, **headers) == 403
    bare = httpx.post(f"{server.url}/decisions", json=body)
    form = httpx.post(f"{server.url}/decisions", data={"row": "0"})
    assert (bare.status_code, form.status_code) == (403, 403)
    for path in ("/", "/desk", "/rows/0", "/images/x/0"):
        foreign = httpx.get(f"{server.url}{path}", headers={"host": "evil.example"})
        assert foreign.status_code == 400
    assert (
        post(server, "/decisions", body, host="evil.example", origin="http://evil.example") == 400
    )
    assert table.read_text() == HEADER
    assert post(server, "/decisions", body) == 200
    assert table.read_text() != HEADER


def test_it_listens_on_this_machine_alone_and_lets_no_other_host_in(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    found = httpx.get(server.url)
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert found.headers["cross-origin-resource-policy"] == "same-origin"
    if Path("/proc/net/tcp").exists():
        port = f":{server.port:04X} "
        listening = [
            line for line in Path("/proc/net/tcp").read_text().splitlines() if port in line
        ]
        assert listening[0].split()[1].startswith("0100007F:")


@pytest.mark.parametrize(
    "path",
    [
        "/queues/none/next",
        "/queues/uncertain/100000",
        "/queues/uncertain/-1",
        "/rows/100000",
        "/rows/-1",
        "/images/x/100000",
        "/page/../app.py",
        "/app.py",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_not_found(server: Server, path: str) -> None:
    assert httpx.get(f"{server.url}{path}").status_code == 404


def test_nonsense_is_refused_and_not_written(server: Server, table: Path) -> None:
    good = {"row": 0, "action": "class", "label": "owl", "queue": "uncertain", "after": -1}
    for change, status in (
        ({"label": "bird"}, 409),
        ({"label": None}, 409),
        ({"action": "relabel"}, 422),
        ({"row": 100_000}, 404),
        ({"row": "x"}, 422),
        ({"queue": "none"}, 404),
        ({"more": 1}, 422),
    ):
        assert post(server, "/decisions", {**good, **change}) == status
    assert post(server, "/undo", {"queue": "uncertain", "place": 0}) == 409
    assert table.read_text() == HEADER


def test_a_table_that_is_none_ends_in_a_sentence(project: Path, table: Path) -> None:
    table.write_text("nonsense\n")
    assert refused(project).startswith("error: data/corrections.csv: the first line must be")
    assert "there is no runs/none-such/folds.json" in refused(project, "--folds", "none-such")


def refused(project: Path, *options: str) -> str:
    """What `review` says instead of starting."""
    try:
        with serving(project, *options, verb="review"):
            raise RuntimeError("it started")
    except AssertionError as error:
        return str(error)


@pytest.mark.slow
def test_no_click_is_slow_at_50_000_images(tmp_path: Path) -> None:
    """Most of them decided already, so that the table is long too."""
    review_project.many(tmp_path, 50_000)
    table = tmp_path / "data/corrections.csv"
    text = "".join(
        f"images/of/a/folder/{n:07d}.jpg,keep,,review,2026-03-31\n" for n in range(25_000)
    )
    table.write_text(HEADER + text)
    with serving(tmp_path, verb="review") as server, httpx.Client(base_url=server.url) as client:
        desk = client.get("/desk").json()
        assert desk["counts"]["label-errors"] > 15_000
        headers = {"origin": server.url, "x-page-token": desk["token"]}
        item = client.get("/queues/label-errors/next").json()["item"]
        used = psutil.Process(server.process.pid).cpu_times
        before = sum(used()[:2])
        for _ in range(20):
            body = {"row": item["row"], "action": "exclude", "queue": "label-errors"}
            body["after"] = item["place"]
            answer = client.post("/decisions", headers=headers, json=body)
            item = answer.json()["item"]
            picture = client.get(f"/images/{desk['version']}/{item['row']}?side=1024")
            assert picture.headers["content-type"] == "image/png"
        # Of the processor, for the wall's clock tells of other work too.
        assert (sum(used()[:2]) - before) / 20 < 0.2
    assert len(rows(table)) == 25_020
