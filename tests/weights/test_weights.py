"""`weights` brings what a library publishes, whole, checked and converted, or says why not."""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torchvision import models

from classifier.cli import main
from classifier.core.errors import UserError
from classifier.core.pretrained import Start, file_of, said_by, weights_in
from classifier.core.resize import Resize, to_array
from classifier.models.forward import normalize
from classifier.models.registry import ModelParams, build
from classifier.models.spec import read_spec
from classifier.training import transfer
from classifier.weights.published import names, published
from tests.support import hub, rewired, workspace
from tests.support.archives import serving
from tests.support.image_files import photograph

NAME = "timm/test_resnet"
TAGGED = f"{NAME}.r160_in1k"
TARGET = Path(f"models/pretrained/{NAME}.safetensors")
TORCHVISION = "torchvision/squeezenet1_1"

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    made = timm.create_model("test_resnet")
    torch.nn.init.normal_(made.get_classifier().weight)
    return made.eval()


def state() -> dict[str, torch.Tensor]:
    return network().state_dict()


@cache
def content() -> bytes:
    return bytes(safetensors.torch.save(state()))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home/hub"))
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    files = {"config.json": b"{}", "model.safetensors": content()}
    with hub.serving(files, "models", TAGGED) as made:
        point_to(made.url, monkeypatch)
        yield made


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes HF_ENDPOINT from the environment once, when it is imported."""
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence; nothing is left of the file."""
    assert main(["weights", *arguments]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not list(Path("models").rglob("*")) or not TARGET.exists()
    return said


def test_weights_of_the_hub(server: hub.Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", NAME]) == 0
    said = capsys.readouterr().out
    assert f"{TARGET}: {TAGGED}, 160 pixels, crop of 95 %; license: mit\n" in said
    assert f"-S model.name={NAME} -S model.pretrained=true" in said
    assert f"dvc add {TARGET}" in said
    found = safetensors.torch.load_file(TARGET)
    assert found.keys() == state().keys()
    assert all(torch.equal(value, state()[key]) for key, value in found.items())
    beside = json.loads(TARGET.with_suffix(".json").read_text())
    assert beside["source"] == f"https://huggingface.co/{TAGGED}"
    assert beside["revision"] == server.commit
    assert beside["sha256"] == hashlib.sha256(content()).hexdigest()
    assert beside["input"]["resize"] == {
        "mode": "crop", "interpolation": "bilinear", "crop_fraction": 0.95
    }  # fmt: skip
    first = TARGET.read_bytes()
    TARGET.unlink()
    assert main(["weights", NAME]) == 0
    assert TARGET.read_bytes() == first
    assert server.reads == ["model.safetensors"], "kept"


def test_the_logits_and_pixels_are_those_of_timm(server: hub.Hub) -> None:
    """The whole way: the file of the Hub, our preprocessing, our network with every layer."""
    main(["weights", NAME])
    params = ModelParams(NAME, pretrained=True)
    start = Start(NAME, True)
    path = file_of(start)
    assert path is not None
    wanted = weights_in(said_by(path)[1], path, start).input
    photo = photograph(1, (500, 333))
    theirs = timm.data.create_transform(
        **timm.data.resolve_model_data_config(network()), is_training=False
    )
    image = theirs(photo)[None]
    pixels = to_array(photo, wanted.image_size, 3, wanted.resize)
    meta = {"classes": [str(n) for n in range(1000)], "channels": 3, "image_size": 160}
    meta |= {"resize": "crop", "mean": [0.5] * 3, "std": [0.5] * 3}
    spec = transfer.plan(params, meta)
    ours = build(spec.name, spec.args, **spec.sizes).eval()
    transfer.load_weights(ours, params, spec)
    ours.last_linear.load_state_dict(network().get_classifier().state_dict())
    prepared = normalize(torch.from_numpy(pixels[None].copy()), spec.mean, spec.std)
    step = 1 / 255 / torch.tensor(spec.std).view(1, 3, 1, 1)
    assert ((prepared - image).abs() <= 1.001 * step).all()
    with torch.no_grad():
        torch.testing.assert_close(ours(image), network()(image), rtol=1e-5, atol=1e-5)


def test_a_tag_is_a_name_of_its_own(server: hub.Hub) -> None:
    assert main(["weights", TAGGED]) == 0
    transfer.plan(ModelParams(TAGGED, pretrained=True), {
        "classes": ["a", "b"], "channels": 3, "image_size": 160, "resize": "squash",
        "mean": [0.5] * 3, "std": [0.2] * 3,
    })  # fmt: skip


def test_what_the_hub_says_of_a_file_is_checked(
    server: hub.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    server.stated["model.safetensors"] = "0" * 64
    assert "came damaged: its SHA-256 is" in refused(capsys, NAME)
    server.stated.clear()
    assert main(["weights", NAME]) == 0, "the damaged copy is not kept"
    assert server.reads == ["model.safetensors"] * 2


def test_a_file_that_breaks_off_is_asked_for_again(server: hub.Hub) -> None:
    server.break_after = 1_000_000
    assert main(["weights", NAME]) == 0
    assert server.reads == ["model.safetensors"] * 2
    assert safetensors.torch.load_file(TARGET).keys() == state().keys()


def test_other_files_of_the_hub_are_refused(
    server: hub.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"conv1.weight": torch.zeros(2)}
    nan = {key: torch.full_like(value, float("nan")) if value.is_floating_point() else value
           for key, value in state().items()}  # fmt: skip
    for data, reason in (
        (safetensors.torch.save(one), "not the weights of timm's test_resnet"),
        (content()[:1000], "is no safetensors file"),
        (safetensors.torch.save(nan), "some of its weights are no numbers"),
    ):
        server.files["model.safetensors"] = data
        assert reason in refused(capsys, NAME)
    del server.files["model.safetensors"]
    assert "has no model.safetensors or pytorch_model.bin" in refused(capsys, NAME)
    server.name = "somebody/else"
    assert f"{TAGGED} is not on the Hub, or a private or gated one: ask" in refused(capsys, NAME)


def test_a_gated_repository_needs_a_token(
    server: hub.Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "hf_secret"
    assert "run hf auth login or set HF_TOKEN" in refused(capsys, NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert main(["weights", NAME]) == 0


def test_without_a_network_both_ways_on_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    said = refused(capsys, NAME)
    assert f"run the same command on a machine with one and copy {TARGET} here, or" in said
    assert f"python -m classifier weights {NAME} FILE" in said


def test_a_file_or_an_address_in_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"epoch": 3, "state_dict": state()}, "own.pth")
    assert main(["weights", NAME, "own.pth"]) == 0
    assert f"{TARGET}: {NAME}, 160 pixels" in capsys.readouterr().out
    first = TARGET.read_bytes()
    assert json.loads(TARGET.with_suffix(".json").read_text())["source"] == "own.pth"
    with serving(Path()) as made:
        address = f"http://127.0.0.1:{made.server_port}/own.pth"
        made.break_after = 100_000
        assert main(["weights", NAME, address]) == 0
        assert len(made.asked) > 1
    weights = safetensors.torch.load_file(TARGET)
    assert all(torch.equal(value, state()[key]) for key, value in weights.items())
    assert TARGET.read_bytes() != first, "it says where it came from"
    assert json.loads(TARGET.with_suffix(".json").read_text())["source"] == address
    assert not list(Path(".run").rglob("*.pth"))


def test_an_address_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Path("http:/weights.example/weights")  # what a proxy is asked for is a whole address
    place.mkdir(parents=True)
    (place / "own.safetensors").write_bytes(content())
    with serving(Path()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert main(["weights", NAME, "http://weights.example/weights/own.safetensors"]) == 0
        assert proxy.asked[0][0] == "http://weights.example/weights/own.safetensors"
    assert TARGET.is_file()


def test_files_that_are_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert "own.pth does not exist: give the path" in refused(capsys, NAME, "own.pth")
    Path("own.pth").write_bytes(b"not a zip file")
    assert "nor one of weights alone that torch.load can read" in refused(capsys, NAME, "own.pth")
    torch.save(torch.nn.Linear(2, 2), "own.pth")  # a pickled module, which would run code when read
    assert "nor one of weights alone that torch.load can read" in refused(capsys, NAME, "own.pth")
    torch.save({"epoch": 3}, "own.pth")
    assert "does not hold a state dict" in refused(capsys, NAME, "own.pth")


def test_names_that_there_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert "weights are published for timm/NAME and torchvision/NAME alone" in refused(
        capsys, "cnn"
    )
    assert "'timm/resnet1' is not a network" in refused(capsys, "timm/resnet1")
    assert "no name: give that of a network" in refused(capsys)
    assert "in its name" in refused(capsys, "--list", "no such thing")


def test_the_list_says_sizes_and_licenses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "--list", "Resnet18.fb_swsl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "name wants license",
        "timm/resnet18.fb_swsl_ig1b_ft_in1k 224 pixels, crop of 87.5 % cc-by-nc-4.0",
    ]
    assert names("torchvision/resnet18") == ["torchvision/resnet18"]


def test_weights_of_torchvision(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    own = models.squeezenet1_1().state_dict()
    torch.save(own, "own.pth")
    data = Path("own.pth").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    answers = {"body": data[:-1]}

    def answer(request: rewired.Request) -> rewired.Answer:
        assert request.path == f"/models/squeezenet-{digest[:8]}.pth"
        return rewired.Answer(answers["body"])

    known = models.get_model_weights("squeezenet1_1").DEFAULT
    assert known.url.startswith("https://download.pytorch.org/models/")
    address = f"https://download.pytorch.org/models/squeezenet-{digest[:8]}.pth"
    monkeypatch.setattr(type(known), "url", property(lambda self: address), raising=False)
    with rewired.serving({"download.pytorch.org"}, answer, monkeypatch):
        said = refused(capsys, TORCHVISION)
        assert f"whose SHA-256 does not start with {digest[:8]} as its name says" in said
        answers["body"] = data
        assert main(["weights", TORCHVISION]) == 0
    said = capsys.readouterr().out
    assert "224 pixels, crop of 87.5 %; license: bsd-3-clause" in said
    found = safetensors.torch.load_file(f"models/pretrained/{TORCHVISION}.safetensors")
    assert all(torch.equal(value, own[key]) for key, value in found.items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "inception_v3", "vit_b_16", "swin_v2_t"])
def test_pixels_as_torchvision_prepares_them(name: str) -> None:
    wanted = published(f"torchvision/{name}").input
    theirs = models.get_model_weights(name).DEFAULT.transforms()
    photo = photograph(2, (400, 611))
    found = to_array(photo, wanted.image_size, 3, wanted.resize) / 255
    mean, std = theirs.mean, theirs.std
    expected = theirs(photo).permute(1, 2, 0).numpy() * std + mean
    assert np.abs(found - expected).max() <= 1.001 / 255


@pytest.mark.slow
def test_pixels_as_timm_prepares_them_for_all_weights() -> None:
    """Of one photograph; what differs by more than a step is what docs/pretrained.md says."""
    photo = Image.fromarray(np.asarray(photograph(3, (700, 461))))
    done: set[object] = set()
    for name in names("timm/"):
        wanted = published(name).input
        facts = timm.get_pretrained_cfg(name.removeprefix("timm/"))
        own_way = wanted.resize.reduces or wanted.resize.mode == "pad" or facts.crop_pct > 1
        key = (wanted.image_size, wanted.resize)
        if key in done or own_way or facts.input_size[1] != facts.input_size[2]:
            continue
        done.add(key)
        theirs = timm.data.create_transform(
            facts.input_size,
            interpolation=facts.interpolation,
            crop_pct=facts.crop_pct,
            crop_mode=facts.crop_mode,
            normalize=False,
        )
        found = to_array(photo, wanted.image_size, 3, wanted.resize)
        expected = theirs(photo).permute(1, 2, 0).numpy()
        stretched = wanted.resize.mode == "squash" and wanted.image_size > 461
        assert np.abs(found.astype(int) - expected).max() <= (5 if stretched else 1), name
    assert len(done) > 50


def test_a_run_begins_with_them_and_the_lock_names_their_bytes(
    server: hub.Hub, tmp_path: Path
) -> None:
    """Through dvc, with a Hub that the environment names, and then without any network."""
    project = workspace.fresh(tmp_path / "project", with_results=False)
    env = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "other")}
    project.run("python", "-m", "classifier", "weights", NAME, env=env)
    server.shutdown()
    server.server_close()
    project.set(
        model__name=NAME, model__pretrained=True, model__freeze="backbone",
        preprocess__image_size=32, model__input_size=32, train__epochs=1,
    )  # fmt: skip
    no_network = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "none")}
    done = project.run("dvc", "repro", "train", env=no_network)
    assert "as preprocess says, it is 32 pixels, crop of 95 %" in done.stdout
    lock = (project.path / "dvc.lock").read_text()
    assert lock.count("path: models/pretrained") == 2
    spec = read_spec(project.path / "models/model.safetensors")
    assert spec.resize == Resize("crop", "bilinear", 0.95)


def test_the_hub_of_the_environment_may_be_gone(tmp_path: Path) -> None:
    project = workspace.fresh(tmp_path / "project", with_results=False)
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "none")}
    failed = project.run("python", "-m", "classifier", "weights", NAME, env=env, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {NAME}: {TAGGED} of the Hub cannot be read (")
    assert failed.stderr.count("\n") == 1


def test_published_inputs_are_whole() -> None:
    with pytest.raises(UserError, match="is not a network"):
        published("timm/nothing_like_it")
    assert published(NAME).repository == TAGGED
