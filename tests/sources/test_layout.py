"""Which folders are splits and which are classes: understood, told or refused, never in silence."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.sources.naming import is_filler, split_meant, split_named
from tests.sources.test_archive import pack
from tests.sources.test_download import classes, folder_of, rejected, take

Found = dict[tuple[str, str], int]  # images by split and label


def images(*folders: str) -> list[str]:
    """Two images in each folder; ``{}`` stands for cat and dog."""
    names = [folder.format(name) for folder in folders for name in ("cat", "dog")]
    return [f"{folder}/{number}.png" for folder in dict.fromkeys(names) for number in range(2)]


def found(out: Path) -> Found:
    manifest = Manifest.read(out)
    return dict(Counter(zip(manifest.origin.tolist(), manifest.label.tolist(), strict=True)))


def split(*names: str) -> Found:
    return {(name, label): 2 for name in names for label in ("cat", "dog")}


UNLABELLED = {("test", ""): 2}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train/{}", "test/{}"], split("train", "test")),
        (["training_set/{}", "test_set/{}"], split("train", "test")),
        (["train_images/{}", "test_images/{}"], split("train", "test")),
        (["Train_Set/{}", "Val_Set/{}"], split("train", "val")),
        (["training/{}", "validation/{}", "testing/{}"], split("train", "val", "test")),
        (["TRAIN/{}", "TEST/{}"], split("train", "test")),
        (["train data/{}", "test data/{}"], split("train", "test")),
        (["TrainImages/{}", "ValImages/{}"], split("train", "val")),
        (["trainset/{}", "testset/{}"], split("train", "test")),
        (["train2017/{}", "val2017/{}"], split("train", "val")),
        (["01-train/{}", "02-dev/{}", "03-eval/{}"], split("train", "val", "test")),
        (["seg_train/{}", "seg_test/{}", "seg_pred"], split("train", "test") | UNLABELLED),
        (["asl_alphabet_train/{}", "asl_alphabet_test/{}"], split("train", "test")),
        # doubled, as archives unpack
        (["training_set/training_set/{}", "test_set/test_set/{}"], split("train", "test")),
        (
            ["seg_train/seg_train/{}", "seg_test/seg_test/{}", "seg_pred/seg_pred"],
            split("train", "test") | UNLABELLED,
        ),
        (["train/train/train/{}", "test/{}"], split("train", "test")),
        (["Train/images/{}", "Test/images/{}"], split("train", "test")),
        (["train/Set A/{}", "test/Set B/{}"], split("train", "test")),
        # one folder around everything
        (["dataset/train/{}", "dataset/test/{}"], split("train", "test")),
        (["data/data/training_set/{}", "data/data/test_set/{}"], split("train", "test")),
        (["train_test_split/train/{}", "train_test_split/test/{}"], split("train", "test")),
        (["Training Data/train/{}", "Training Data/test/{}"], split("train", "test")),
        (["train/{}"], split("train")),
        (["train/train/{}"], split("train")),
        (["set/{}"], split("")),
        (["seg_train/{}"], split("")),
        # without class folders
        (["train/{}", "test"], split("train") | UNLABELLED),
        (["train/{}", "test/test"], split("train") | UNLABELLED),
        (["train/{}", "test/unknown"], split("train") | UNLABELLED),
        (["train/{}", "test/images"], split("train") | UNLABELLED),
        (["train/{}", "val/{}", "test1"], split("train", "val") | UNLABELLED),
        (["train/{}", "test/{}", "unlabeled"], split("train", "test") | UNLABELLED),
        (["train/{}", "test/{}", "unlabeled/part 1"], split("train", "test") | UNLABELLED),
        # in the class folders
        (["{}/train", "{}/test"], split("train", "test")),
        (["{}/Train_Set", "{}/Val_Set"], split("train", "val")),
        (["set/{}/train", "set/{}/test"], split("train", "test")),
        # classes of all kinds
        (["{}"], split("")),
        (["{}/old", "{}/new"], {("", "cat"): 4, ("", "dog"): 4}),
    ],
    ids=str,
)
def test_layouts_that_are_understood(
    tmp_path: Path, out: Path, folders: list[str], expected: Found, packed: bool
) -> None:
    root = folder_of(tmp_path / "in", *images(*folders))
    (root / "README.md").write_text("x")
    if packed:
        take(pack(tmp_path / "in.zip", root), out, source="archive")
    else:
        take(root, out)
    assert found(out) == expected
    assert classes(out) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["train/{}", "Test/{}"], []),
        (["{}"], []),
        (["training_set/{}", "test_set/{}"], ["took training_set for train, test_set for test"]),
        (["train/train/{}", "val/{}"], ["took train/train for train"]),
        (
            ["seg_train/{}", "seg_test/{}", "seg_pred"],
            ["took seg_train for train, seg_pred for unlabelled, seg_test for test"],
        ),
        (["set/{}"], ["took the folders in {root}/set for the classes"]),
        (
            ["set/training_set/{}"],
            ["took the folders in {root}/set for the classes", "took training_set for train"],
        ),
        (["{}/train", "{}/test"], ["took the folders in class folders, such as cat/test, for"]),
        (["{}/train", "{}/left"], ["took cat/train, dog/train for parts of a class"]),
        # classes that are named like splits
        (["{}", "test"], ["took test for a class, though it is named like a split"]),
        (["{}", "owl", "training", "val"], ["took training, val for classes, though they are"]),
        (["{}", "seg_pred"], ["took seg_pred for a class"]),
        (["{}", "bullet train"], ["took bullet train for a class"]),
        (["training_real", "training_fake"], ["took training_fake, training_real for classes"]),
        (["train_{}", "test_{}"], ["took test_cat, test_dog, train_cat and 1 more for classes"]),
        (["train_{}/a", "test_{}/b"], ["took test_cat, test_dog, train_cat and 1 more for class"]),
        (["car/old", "car/new", "jet/big", "ship/old", "train/big", "train/new"],
         ["took train for a class"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_was_understood_is_told(
    tmp_path: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    folders: list[str],
    told: Sequence[str],
) -> None:
    root = folder_of(tmp_path / "in", *images(*folders))
    take(root, out)
    lines = capsys.readouterr().err.splitlines()
    expected = [text.replace("{root}", str(root)) for text in told]
    assert [text in line for text, line in zip(expected, lines, strict=True)] == [True] * len(told)
    assert all(line.startswith(f"warning: {root}") for line in lines)


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (["train", "test"], "has test, train with images but without class folders"),
        (["train_images", "test_images"], "has test_images, train_images with images but without"),
        (["train/train", "test/test"], "with images but without class folders"),
        (["Train"], "has Train with images but without class folders"),
        (["test/{}", "val/{}"], "has test, val but no train folder"),
        (["test/{}"], "has test but no train folder"),
        (["{}", "test/{}"], r"has test with class folders but no train folder: .*\(cat, dog\)"),
        (["{}", "test/{}", "val/{}"], "has test, val with class folders but no train folder"),
        (["{}", "train/{}"], "cat lies beside the training folder"),
        (["train/{}", "test/{}", "extra"], "extra lies beside the training folder"),
        (["train/{}", "test/{}", "a", "b", "c", "d"], "a lies beside the training folder"),
        (["training_set/{}", "extra", "more"], "if training_set is a class, put its images right"),
        (["train/{}", "train_set/{}", "test/{}"], "two folders that mean train, train and train_"),
        (["TRAIN/{}", "TEST/{}", "TEST_SIMPLE/{}"], "mean test, TEST and TEST_SIMPLE"),
        (["train/{}", "test/cow"], "class 'cow' is in .*test but not in the training folder"),
        (["train/{}", "test/cow/old"], "class 'cow' is in .*test but not in the training folder"),
        (["train/cat", "test/cat"], r"holds one class only \('cat'\)"),
    ],
    ids=str,
)
def test_layouts_that_are_refused(
    tmp_path: Path, out: Path, folders: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        take(folder_of(tmp_path / "in", *images(*folders)), out)


@pytest.mark.parametrize(
    ("test", "difference"),
    [
        ("Caf\u00e9 noir", "letter case"),
        ("cafe\u0301 noir", "Unicode form"),
        ("caf\u00e9  noir", "blanks"),
        ("CAF\u00c9_NOIR", "letter case or blanks"),
    ],
)
def test_class_folders_meet_whatever_their_spelling(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], test: str, difference: str
) -> None:
    names = ["train/caf\u00e9 noir/1.png", "train/tea/1.png", f"test/{test}/1.png"]
    take(folder_of(tmp_path / "in", *names), out)
    assert classes(out) == ["caf\u00e9 noir", "tea"]
    assert found(out)["test", "caf\u00e9 noir"] == 1
    assert f"which differs in {difference}" in capsys.readouterr().err


def test_classes_without_images_are_told(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_of(tmp_path / "in", "train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    for name in ("train/owl/readme.txt", "train/fox/.hidden", "test/dog/x.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    (root / "train" / "ant" / "deeper").mkdir(parents=True)
    take(root, out)
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {root}: no class was made of ant, fox, owl, which hold no images."
    ]
    lonely = folder_of(tmp_path / "lonely", "cat/1.png")
    (lonely / "owl").mkdir()
    with pytest.raises(UserError, match=r"one class only \('cat'\) \(no images in owl\)"):
        take(lonely, tmp_path / "second")


def test_loose_images_of_a_divided_set_are_listed(tmp_path: Path, out: Path) -> None:
    names = ["train/{}/1.png", "test/{}/1.png"]
    root = folder_of(tmp_path / "in", *(n.format(c) for n in names for c in ("cat", "dog")))
    folder_of(root, "loose.png", "train/loose.png", "test/loose.png")
    take(root, out, max_rejected=1)
    assert set(rejected(out).values()) == {"it lies in no class folder"}
    assert len(rejected(out)) == 3


@pytest.mark.parametrize(
    ("name", "split", "sure"),
    [
        ("train", "train", True), (" Train ", "train", True), ("trainval", "train", True),
        ("train+val", "", True), ("train_test_split", "", True), ("constrain", "", False),
        ("contest", "", False), ("test tube", "test", False), ("latest", "", False),
        ("invalid", "", False), ("VALID", "val", True), ("Test-Set_2", "test", True),
        ("testimages", "test", True), ("1", "", True), ("", "", True),
        ("seg_pred", "unlabelled", False), ("unlabeled test", "unlabelled", True),
        ("\u00c9t\u00e9 test", "test", False),
    ],
)  # fmt: skip
def test_the_split_in_a_name(name: str, split: str, sure: bool) -> None:
    assert split_named(name) == (split, sure)
    assert split_meant(name) == (split if sure and split in ("train", "val", "test") else "")


def test_fillers() -> None:
    assert list(map(is_filler, ["images", "IMG data", "image_2", "1", "", "cats"])) == [
        *[True] * 3, *[False] * 3,
    ]  # fmt: skip
