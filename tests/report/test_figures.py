"""The figures: drawn for every kind of data set, the same bytes each time, readable."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontEntry
from PIL import Image

from classifier.core.files import write_json
from classifier.report.figures import confusion, data_quality, fonts, network, style
from classifier.report.figures.collection import draw_all
from classifier.report.figures.data import sizes
from classifier.report.figures.galleries import galleries
from classifier.report.figures.tiles import Tile, _fitted, heat, percent, scaled, sheet
from classifier.report.results import Results
from tests.support.synthetic_results import make

ALWAYS = {
    "curves", "network", "confusion", "confusion_normalized", "confused_pairs", "per_class", "roc",
    "pr", "reliability", "class_counts", "sizes", "embedding", "samples", "predictions", "mistakes",
    "uncertain", "pair_examples", "label_errors", "duplicates", "gradcam", "filters",
    "feature_maps",
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results.open(make(tmp_path_factory.mktemp("ten"), classes=10, size=16, test=200))


def test_two_drawings_have_the_same_bytes_and_hold_no_date_or_version(
    results: Results, tmp_path: Path
) -> None:
    drawn = draw_all(results, tmp_path / "a", 12)
    draw_all(results, tmp_path / "b", 12)
    assert {figure.name for figure in drawn} >= ALWAYS
    for figure in drawn:
        first, second = (tmp_path / side / f"{figure.name}.png" for side in "ab")
        assert first.read_bytes() == second.read_bytes(), figure.name
        with Image.open(first) as image:
            assert not set(image.info) & {"Software", "Creation Time", "date"}
            assert 300 < image.width < 2600


@pytest.mark.parametrize(
    ("classes", "size", "channels", "test"),
    [
        (2, 8, 1, 20),
        (3, 224, 3, 12),
        # test_page_browser.py draws those of 100 classes; none makes a difference between more.
        pytest.param(100, 32, 3, 200, marks=pytest.mark.slow),
        pytest.param(1000, 8, 1, 1500, marks=pytest.mark.slow),
    ],
)
def test_every_figure_is_drawn_at_any_count_of_classes_and_any_size(
    classes: int, size: int, channels: int, test: int, tmp_path: Path
) -> None:
    found = Results.open(make(tmp_path, classes, size, channels, test))
    names = {figure.name for figure in draw_all(found, tmp_path / "figures", 8)}
    assert names >= ALWAYS - {"mistakes", "pair_examples", "confused_pairs"}


def test_what_an_earlier_stage_did_not_write_is_left_out(tmp_path: Path) -> None:
    where = make(tmp_path, classes=2, size=8, channels=1, test=20)
    for folder in (where.explain, where.metrics):
        for path in sorted(folder.rglob("*.*")):
            path.unlink()
    (where.models / "summary.json").unlink()
    names = {figure.name for figure in draw_all(Results.open(where), tmp_path / "figures", 8)}
    assert "confusion" in names
    assert not names & {"curves", "network", "gradcam", "mistakes", "per_class", "reliability"}


def test_a_perfect_network_has_no_pairs_to_show() -> None:
    assert confusion.pairs(np.diag([5, 7]), ["a", "b"]) is None


def test_pairs_are_the_largest_off_the_diagonal() -> None:
    matrix = np.array([[5, 3, 0], [1, 9, 0], [0, 2, 8]])
    found = confusion.largest_pairs(matrix, 2)
    assert [pair[:3] for pair in found] == [(0, 1, 3), (2, 1, 2)]
    assert found[0][3] == pytest.approx(3 / 8)


def test_class_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    with rc_context(style.STYLE):
        figure = confusion.counts(np.eye(2, dtype=np.int64), ["$\\frac{$", "<b>%s</b>"])
        style.save(figure, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_tiny_images_grow_by_whole_factors_and_large_ones_shrink() -> None:
    tiny = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    grown = scaled(tiny, 6)
    assert grown.shape == (6, 6, 3)
    assert (grown[::3, ::3, 0] == tiny[..., 0]).all()
    assert len(np.unique(grown)) == 4  # no color that was not there
    assert max(scaled(np.zeros((300, 150, 3), np.uint8), 96).shape) == 96


def test_pixels_of_a_sheet_are_those_of_the_image(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    with rc_context(style.STYLE):
        style.save(sheet([Tile([image], "eight")], 96), tmp_path / "sheet.png")
    shown = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert (shown[16 : 16 + 96, 16 : 16 + 96] == image.repeat(12, 0).repeat(12, 1)).all()


def test_heat_brightens_where_the_evidence_is() -> None:
    image = np.full((4, 4, 1), 100, np.uint8)
    strength = np.zeros((4, 4))
    strength[1, 1] = 1.0
    shown = heat(image, strength).astype(int)
    assert shown[1, 1].sum() > shown[0, 0].sum()


def test_images_of_one_size_need_no_histogram() -> None:
    assert sizes(np.full(5, 8), np.full(5, 8), 8) is None
    assert sizes(np.array([8, 9]), np.array([8, 8]), 8) is not None


def test_a_deep_network_is_folded_into_a_readable_diagram(tmp_path: Path) -> None:
    layer = {"kind": "Conv2d", "output": [64, 8, 8], "parameters": 10, "multiply_adds": 640}
    layers = [{**layer, "name": f"backbone.{n // 20}.{n // 5}.{n}"} for n in range(200)]
    summary = {"layers": layers, "parameters": 2000, "multiply_adds": 128_000}
    with rc_context(style.STYLE):
        style.save(network.diagram(summary, (3, 32, 32)), tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as image:
        assert image.height < 2200


def test_doubtful_images_are_shown_by_kind(tmp_path: Path) -> None:
    where = make(tmp_path, classes=2, size=16, channels=1, test=20)
    images = np.load(where.prepared / "test.npy")
    images[3], images[5] = 0, 255
    np.save(where.prepared / "test.npy", images)
    shown = {gallery.name: gallery for gallery in galleries(Results.open(where), 8)}
    notes = {tile.note for tile in shown["doubtful_images"].tiles}
    assert {"test-00003", "test-00005"} <= notes


def test_a_image_of_two_doubts_is_shown_once(tmp_path: Path) -> None:
    where = make(tmp_path, classes=2, size=16, channels=1, test=20)
    images = np.load(where.prepared / "test.npy")
    images[3] = np.linspace(0, 40, 16).astype(np.uint8)[:, None]
    np.save(where.prepared / "test.npy", images)
    tiles = data_quality.doubtful(Results.open(where), 8)
    assert [tile.caption for tile in tiles if tile.note == "test-00003"] == ["dark, blurred, test"]


def test_a_class_that_is_always_mistaken_is_mistaken_at_100_per_cent(tmp_path: Path) -> None:
    where = make(tmp_path, classes=2, size=16, channels=1, test=20)
    pairs = "actual,predicted,count,fraction,rows\na,b,10,1,0 2\nb,a,1,0.1,3\n"
    (where.explain / "confused_pairs.csv").write_text(pairs)
    shown = {gallery.name: gallery for gallery in galleries(Results.open(where), 8)}
    notes = [tile.note.replace("\N{NO-BREAK SPACE}", " ") for tile in shown["pair_examples"].tiles]
    assert notes == ["10 images, 100 % of a", "1 image, 10 % of b"]


def test_every_kind_of_duplicates_is_shown(tmp_path: Path) -> None:
    where = make(tmp_path, classes=2, size=16, channels=1, test=20)

    def pair(first: str, second: str, labels: str = "aa") -> dict[str, str]:
        found = {"first": first, "first_label": labels[0], "first_split": first.split("-")[0]}
        second_split = second.split("-")[0]
        return found | {"second": second, "second_label": labels[1], "second_split": second_split}

    across = [pair(f"test-0000{n}", f"train-0000{n}") for n in range(9)]
    pairs = {
        "near_duplicates_across_splits": across,
        "near_duplicates_within_splits": [pair("train-00011", "train-00012")],
        "label_conflicts": [pair("train-00013", "train-00014", "ab")],
        "exact_duplicates": [pair("train-00013", "train-00014", "ab"),
                             pair("test-00007", "excluded-1")],
    }  # fmt: skip
    write_json(where.metrics / "quality.json", {"pairs": pairs})
    tiles = data_quality.duplicates(Results.open(where), 8)
    found = [(tile.note, tile.tone) for tile in tiles]
    assert len(found) == 8
    assert found[0] == ("test · train", "wrong")
    assert found.count(("= train · train", "wrong")) == 1  # two labels
    assert ("train · train", "plain") in found
    # The other of the two was left out, and has the same pixels.
    excluded = next(tile for tile in tiles if tile.note == "= test · excluded")
    assert (excluded.images[0] == excluded.images[1]).all()


def test_the_plot_stage_never_imports_torch() -> None:
    code = "import sys, stages.plot; print([m for m in sys.modules if m.startswith('torch')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_letters_come_from_the_fonts_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert fonts.fonts_for("Äpfel, яблоки, μήλα") == (("DejaVu Sans",), "")
    have = {"one.ttf": "你好", "both.ttf": "你好世"}
    known = fonts._letters
    monkeypatch.setattr(
        fonts, "_letters", lambda path: frozenset(have[path]) if path in have else known(path)
    )
    entries = [FontEntry(fname=name, name=name[:-4], style="normal") for name in have]
    boxes = [font for font in fonts.fontManager.ttflist if font.name.startswith("Last Resort")]
    assert boxes  # Matplotlib's own, which have a box for every letter
    monkeypatch.setattr(fonts.fontManager, "ttflist", entries + boxes)
    files = {name[:-4]: name for name in have}
    find = fonts.findfont
    monkeypatch.setattr(fonts, "findfont", lambda name: files.get(name) or find(name))
    fonts.fonts_for.cache_clear()
    assert fonts.fonts_for("你好世界") == (("DejaVu Sans", "both"), "界")
    fonts.fonts_for.cache_clear()


def test_a_damaged_font_has_no_letters(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_bytes(b"no font")
    assert fonts._letters(str(tmp_path / "font.ttf")) == frozenset()


def test_only_labels_that_are_rather_wrong_are_shown(tmp_path: Path) -> None:
    found = Results.open(make(tmp_path, classes=3, size=8, test=30))
    tiles, expected = data_quality.label_errors(found, 5)
    assert len(tiles) == 5
    assert expected == pytest.approx(4.5)
    path = found.folders.explain / "label_errors.csv"
    table = pd.read_csv(path)
    # Of a network that guesses, a given class may be improbable, and the suggested one hardly less.
    for column in ("error_probability", "score"):
        table.assign(**{column: 0.2}).to_csv(path, index=False)
        found = Results.open(found.folders)
        assert data_quality.label_errors(found, 5) == ([], 0)
    assert "label_errors" not in {gallery.name for gallery in galleries(found, 5)}


def test_series_stay_apart_on_white_and_on_the_dark_page() -> None:
    """In OKLab, for every eye; the colors of the dark page are made by the filter of page.css."""
    light = np.array([to_rgb(color) for color in style.SERIES])
    turned = [[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]]  # 180 degrees
    card = np.array(to_rgb("#1a1e24"))
    inverted = np.clip((1 - light) @ np.array(turned).T, 0, 1)
    dark = 1 - (1 - inverted) * (1 - card)  # blended by "screen"
    assert len(style.SERIES) == len(style.LINES) == 10
    for colors, page in ((light, np.ones(3)), (dark, card)):
        luminance = [linear(one) @ (0.2126, 0.7152, 0.0722) + 0.05 for one in (colors, page)]
        contrast = luminance[0] / luminance[1]
        assert np.maximum(contrast, 1 / contrast).min() >= 2.99
        for eye, least in EYES.items():
            seen = oklab(np.clip(linear(colors) @ np.array(BLIND[eye]).T, 0, 1))
            apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(10, 1)]
            assert apart.min() >= least, eye


# Machado, Oliveira and Fernandes 2009, at full severity, on linear RGB; and the distance of two
# colors in OKLab that they must keep: a fiftieth is the least that is seen side by side.
BLIND = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
EYES = {"normal": 0.13, "protan": 0.07, "deutan": 0.07, "tritan": 0.07}


def linear(color: np.ndarray) -> np.ndarray:
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def oklab(color: np.ndarray) -> np.ndarray:
    cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(color @ np.array(cones).T) @ np.array(lab).T


def test_a_matrix_of_many_classes_is_drawn_in_blocks() -> None:
    matrix = np.zeros((1000, 1000), int)
    matrix[np.arange(1000), np.arange(1000)] = 2
    matrix[5, 995] = 7
    assert confusion.block(150) == 1
    blocks = confusion._blocks(matrix)
    assert confusion.block(1000) == 10
    assert blocks.shape == (100, 100)
    assert blocks.sum() == matrix.sum()
    assert blocks[0, 99] == 7
    assert confusion._blocks(np.ones((151, 151), int)).sum() == 151 * 151


def test_marks_of_a_matrix_are_whole_numbers_that_it_has() -> None:
    matrix = np.eye(40, dtype=int) * 2
    bar = confusion.counts(matrix, [str(name) for name in range(40)]).axes[1]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["0", "1", "2"]
    assert bar.get_yticks() == pytest.approx([0, 0.5**0.5, 1])


def test_a_long_name_is_cut_and_not_its_probability(results: Results) -> None:
    assert _fitted(f"automobile ·\N{NO-BREAK SPACE}{percent(0.914)}", 13) == "autom… · 91 %"
    predictions = next(one for one in galleries(results, 4) if one.name == "predictions")
    assert all(_fitted(tile.caption, 9).endswith("%") for tile in predictions.tiles)


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.5, "50"), (0.991, "99.1"), (0.9996, ">99.9"), (1.0, ">99.9")]
)
def test_no_probability_reads_as_certain(fraction: float, text: str) -> None:
    assert percent(fraction) == f"{text}\N{NO-BREAK SPACE}%"
