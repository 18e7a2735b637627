"""The HTTP interface, over a real socket: what it answers, what it refuses, how it stops."""

import base64
import csv
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from classifier.inference.export import onnx_bytes
from classifier.models import model_file
from tests.support import workspace
from tests.support.servers import Server, measured, png, serving
from tests.support.workspace import Workspace

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def server(finished: Workspace) -> Iterator[Server]:
    with serving(finished.path, "--max-body", "1", "--max-pixels", "1000000") as running:
        yield running
        assert running.stop() == 0
        assert running.log == []


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator["httpx.Client"]:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="module")
def digits(finished: Workspace) -> tuple[list[bytes], list[str]]:
    """Every test picture as a PNG file, and the class that evaluate gave it."""
    pictures = np.load(finished.path / "data/prepared/test.npy")
    with (finished.path / "data/predictions/predictions.csv").open() as file:
        classes = [row["predicted"] for row in csv.DictReader(file)]
    return [png(picture) for picture in pictures], classes


def form(*pictures: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("pictures", (f"{n}.png", data)) for n, data in enumerate(pictures)]


def test_every_test_digit_gets_the_class_that_evaluate_gave_it(
    client: "httpx.Client", digits: tuple[list[bytes], list[str]]
) -> None:
    pictures, expected = digits
    found = []
    for start in range(0, len(pictures), 64):
        answer = client.post("/predict", files=form(*pictures[start : start + 64]))
        assert answer.status_code == 200
        found += [one["classes"][0]["class"] for one in answer.json()["predictions"]]
    assert found == expected


def test_onnx_runtime_behind_it_says_the_same(
    finished: Workspace, digits: tuple[list[bytes], list[str]]
) -> None:
    pictures, expected = digits
    with serving(finished.path, "--backend", "onnx") as server:
        answer = httpx.post(f"{server.url}/predict", files=form(*pictures[:64]), timeout=30)
        found = [one["classes"][0]["class"] for one in answer.json()["predictions"]]
        assert found == expected[:64]
        assert httpx.get(f"{server.url}/model").json()["backend"] == "onnx"
        refused = httpx.post(f"{server.url}/explain", files=form(pictures[0]))
        assert refused.status_code == 501
        assert "torch" in refused.json()["detail"]


def test_json_with_base64_is_the_same_as_a_form(
    client: "httpx.Client", digits: tuple[list[bytes], list[str]]
) -> None:
    text = base64.b64encode(digits[0][0]).decode()
    sent = {"pictures": [text, f"data:image/png;base64,{text}"]}
    answer = client.post("/predict?top=10", json=sent).json()["predictions"]
    expected = client.post("/predict?top=10", files=form(digits[0][0])).json()["predictions"][0]
    shares = [kind["probability"] for kind in expected["classes"]]
    for one in answer:
        assert [kind["class"] for kind in one["classes"]] == [
            kind["class"] for kind in expected["classes"]
        ]
        same = [kind["probability"] for kind in one["classes"]]
        assert same == pytest.approx(shares, abs=1e-5)
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_a_broken_picture_among_others_is_answered_with_a_sentence(
    client: "httpx.Client", digits: tuple[list[bytes], list[str]]
) -> None:
    answer = client.post("/predict", files=form(digits[0][0], b"no picture", digits[0][1]))
    assert answer.status_code == 200
    first, broken, last = answer.json()["predictions"]
    assert (broken["classes"], broken["error"]) == ([], "It is not an image of a known format.")
    assert first["error"] is None
    assert last["classes"][0]["class"] == digits[1][1]


def wide_png() -> bytes:
    return png(np.zeros((1001, 1000, 1), np.uint8))


REFUSED = {
    "no known format": (415, {"files": form(b"GIF87 or so")}),
    "empty": (415, {"files": form(b"")}),
    "cut off": (422, {"files": form(png(np.zeros((40, 40, 1), np.uint8))[:-30])}),
    "too many pixels": (413, {"files": form(wide_png())}),
    "too many pictures": (413, {"files": form(*[b"x"] * 65)}),
    "too many texts": (413, {"json": {"pictures": ["eA=="] * 65}}),
    "too large": (413, {"files": form(b"x" * 1_100_000)}),
    "too large without a length": (413, {
        "content": (b"x" * 100_000 for _ in range(20)),
        "headers": {"content-type": "application/json"},
    }),
    "plain text": (415, {"content": b"x", "headers": {"content-type": "text/plain"}}),
    "no type": (415, {"content": b"x"}),
    "no picture": (422, {"json": {"pictures": []}}),
    "no base64": (422, {"json": {"pictures": ["!!"]}}),
    "an address": (422, {"json": {"pictures": ["http://127.0.0.1/x.png"]}}),
    "a file address": (422, {"json": {"pictures": ["file:///etc/passwd"]}}),
    "unknown keys": (422, {"json": {"url": "x"}}),
    "no json": (422, {"content": b"{", "headers": {"content-type": "application/json"}}),
    "deep json": (422, {
        "content": b"[" * 100_000, "headers": {"content-type": "application/json"},
    }),
    "a damaged form": (422, {
        "content": b"--x\r\nnonsense",
        "headers": {"content-type": "multipart/form-data; boundary=x"},
    }),
    "a form without boundary": (422, {
        "content": b"--x", "headers": {"content-type": "multipart/form-data"},
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_are_refused_with_a_sentence(client: "httpx.Client", name: str) -> None:
    status, request = REFUSED[name]
    answer = client.post("/predict", **request)
    assert answer.status_code == status, answer.text
    assert re.fullmatch(r"[A-Z].*[.]", answer.json()["detail"], re.DOTALL)


def test_questions_that_are_no_predictions(client: "httpx.Client") -> None:
    assert client.get("/health").json() == {"status": "ok"}
    model = client.get("/model").json()
    assert model["classes"] == list("0123456789")
    assert model["metrics"]["test_accuracy"] > 0.95
    assert client.get("/predict").status_code == 405
    assert client.get("/page/../../cli.py").status_code == 404
    assert client.get("/examples/100000.png").status_code == 404
    assert client.get("/examples/-1.png").status_code == 404
    assert client.post("/predict?top=0", files=form(b"x")).status_code == 422


def test_the_interface_describes_itself(client: "httpx.Client") -> None:
    described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    accepted = described["requestBody"]["content"]
    assert set(accepted) == {"multipart/form-data", "application/json"}
    assert {"200", "413", "415", "422", "429", "503"} <= set(described["responses"])


def test_the_page_may_load_nothing_from_elsewhere(client: "httpx.Client") -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    names = ("docs", "page.js", "page.css", "draw.js", "camera.js", "docs.js", "icon.svg")
    for path in ("/", *(f"/{name}" for name in names)):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text


def test_an_example_and_its_explanation(client: "httpx.Client") -> None:
    listed = client.get("/examples").json()
    assert len(listed) == 12
    assert {one["label"] for one in listed} == set("0123456789")
    sevens = client.get("/examples?class=7").json()
    assert [one["label"] for one in sevens] == ["7"] * 12
    pictures = {client.get(f"/{one['picture']}").content for one in sevens}
    assert len(pictures) == 12
    assert client.get("/examples?class=cat").json() == []
    picture = client.get(f"/{listed[3]['picture']}").content
    answer = client.post("/explain", files=form(picture)).json()
    assert answer["overlay"].startswith("data:image/png;base64,")
    other = client.post("/explain?class=5", files=form(picture)).json()
    assert other["class"] == "5"
    assert client.post("/explain?class=cat", files=form(picture)).status_code == 422
    assert client.post("/explain", files=form(b"x")).status_code == 415


def test_the_test_pictures_are_those_of_the_revision(
    finished: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = workspace.copy(finished, tmp_path / "project")
    shutil.rmtree(project.path / "data/prepared")
    with serving(project.path, "--rev", "main") as server:
        listed = httpx.get(f"{server.url}/examples").json()
        assert len(listed) == 12
        picture = httpx.get(f"{server.url}/{listed[0]['picture']}").content
    number = int(listed[0]["picture"].removeprefix("examples/").removesuffix(".png"))
    assert picture == png(np.load(finished.path / "data/prepared/test.npy")[number])
    with serving(project.path) as server:
        assert httpx.get(f"{server.url}/examples").json() == []


def test_what_happened_can_be_counted(server: Server, client: "httpx.Client") -> None:
    def value(name: str) -> float:
        return measured(server, name)

    right = 'http_requests_total{handler="/predict",status="200"}'
    wrong = 'http_requests_total{handler="/predict",status="415"}'
    before = value(right), value(wrong), value("classifier_batch_pictures_count")
    picture = png(np.zeros((8, 8, 1), np.uint8))
    client.post("/predict", files=form(picture))
    client.post("/predict", files=form(b"x"))
    client.get("/no/such/path")
    after = value(right), value(wrong), value("classifier_batch_pictures_count")
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 1]
    assert value('http_requests_total{handler="none",status="404"}') > 0
    assert value("classifier_waiting_pictures") == 0
    assert value("process_resident_memory_bytes") > 0


def test_what_clients_make_up_takes_no_room_among_the_counters(client: "httpx.Client") -> None:
    def made_up(number: int) -> None:
        client.request(f"M{number}", "/predict")
        for path in (f"/{number}", f"/examples/{number}.png", f"/examples/{number}.png/"):
            client.get(path)

    made_up(1000)
    before = client.get("/metrics").text.count("\n")
    for number in range(1001, 1020):
        made_up(number)
    assert client.get("/metrics").text.count("\n") == before


def test_requests_at_the_same_time_share_a_batch(finished: Workspace) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    with serving(finished.path, "--max-wait", "300", "--max-batch", "8") as server:
        with ThreadPoolExecutor(8) as pool:
            started = time.perf_counter()
            sent = [
                pool.submit(httpx.post, f"{server.url}/predict", files=form(picture), timeout=30)
                for _ in range(8)
            ]
            assert all(request.result().status_code == 200 for request in sent)
            assert time.perf_counter() - started < 10
        text = httpx.get(f"{server.url}/metrics").text
        calls = re.search(r"^classifier_batch_pictures_count (\S+)$", text, re.MULTILINE)
        assert calls is not None
        assert float(calls[1]) <= 3


def test_a_busy_server_says_so_and_recovers(finished: Workspace) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    options = ["--max-wait", "400", "--max-queue", "4", "--max-per-client", "2"]
    with serving(finished.path, *options) as server:

        def statuses(number: int) -> list[int]:
            with ThreadPoolExecutor(number) as pool:
                sent = [
                    pool.submit(httpx.post, f"{server.url}/predict", files=form(picture), timeout=9)
                    for _ in range(number)
                ]
            return sorted(request.result().status_code for request in sent)

        assert set(statuses(8)) == {200, 429}
        assert statuses(1) == [200]
    with serving(finished.path, *options[:4], "--max-per-client", "0") as server:
        assert set(statuses(12)) == {200, 503}
        assert statuses(1) == [200]


def test_a_server_that_is_stopped_answers_what_it_has_accepted(finished: Workspace) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    # However long the batch would have waited for other pictures.
    with serving(finished.path, "--max-wait", "60000") as server, ThreadPoolExecutor(1) as pool:
        sent = pool.submit(httpx.post, f"{server.url}/predict", files=form(picture), timeout=90)
        while measured(server, "classifier_waiting_pictures") != 1:
            time.sleep(0.1)
        assert server.stop() == 0
        assert sent.result().status_code == 200
        assert sent.result().headers["connection"] == "close"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health")


def test_a_stop_under_load_drops_no_request(finished: Workspace) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    heard: list[object] = []

    def client() -> None:  # a connection for each request, until none is taken any more
        while True:
            try:
                sent = httpx.post(f"{server.url}/predict", files=form(*[picture] * 8), timeout=90)
                heard.append(sent.status_code)
            except httpx.ConnectError:
                return
            except httpx.HTTPError as error:
                heard.append(repr(error))

    with serving(finished.path) as server, ThreadPoolExecutor(16) as pool:
        under_way = [pool.submit(client) for _ in range(16)]
        while len(heard) < 32:
            time.sleep(0.05)
        assert server.stop() == 0
        for one in under_way:
            one.result()
        assert set(heard) <= {200, 429, 503}
        assert server.log == []


def test_a_port_in_use_gets_one_sentence(finished: Workspace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = finished.run("python", "-m", "classifier", "serve", "--port", port, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"error: cannot listen on 127.0.0.1:\d+ .*\n", ended.stderr)


def test_nothing_else_is_listening_for_other_machines(server: Server) -> None:
    lines = Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()[1:]
    ours = [line.split()[1] for line in lines if f":{server.port:04X} " in f"{line.split()[1]} "]
    assert ours
    assert all(address.startswith("0100007F:") for address in ours)


ONLY_WHAT_THE_CONTAINER_HAS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[2].split(","):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import numpy as np
from pathlib import Path
from classifier.commands import serve
from classifier.inference.open_predictor import open_predictor
from classifier.serve import app, examples, limits, metrics, service
from classifier.web import server
predictor = open_predictor(sys.argv[1])
made = service.Service(predictor, limits.Limits(), metrics.Metrics())
shown = examples.examples(Path("nowhere"), predictor.spec)
app.create_app(made, shown, "model", predictor.metrics)
print(predictor.probabilities(np.zeros((1, 30, 20, 1), np.uint8)).shape)
"""


def test_an_exported_model_is_served_without_torch(finished: Workspace, tmp_path: Path) -> None:
    path = str(tmp_path / "model.onnx")
    network = model_file.load(finished.path / "models/model.safetensors")
    Path(path).write_bytes(onnx_bytes(*network, {}))
    text = (finished.path / "Dockerfile").read_text()
    assert re.search(r"^COPY classifier classifier$", text, re.MULTILINE)
    missing = "torch,torchvision,scipy,sklearn,pandas,matplotlib,dvc,safetensors,jinja2,psutil"
    missing += ",yaml,tqdm,ruamel"
    ended = finished.run("python", "-c", ONLY_WHAT_THE_CONTAINER_HAS, path, missing)
    assert ended.stdout == "(1, 10)\n"


def test_the_training_pictures_like_an_example(client: "httpx.Client") -> None:
    assert client.get("/model").json()["shows_neighbors"] is True
    listed = client.get("/examples").json()
    example = listed[3]
    picture = client.get(f"/{example['picture']}").content
    found = client.post("/neighbors", files=form(picture)).json()["neighbors"]
    assert [one["class"] for one in found] == [example["label"]] * 3
    distances = [one["distance"] for one in found]
    assert distances == sorted(distances)
    assert all(one["picture"].startswith("data:image/png;base64,") for one in found)
    assert client.post("/neighbors", files=form(b"x")).status_code == 415
    assert client.post("/neighbors", files=form(picture, picture)).status_code == 413
