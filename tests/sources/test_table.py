"""Tables name images and labels; whatever does not fit together is told in one sentence."""

from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.sources.ingest import Summary
from tests.sources.test_download import classes, folder_of, image, take


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four images and a table of them."""
    folder = folder_of(tmp_path / "in", "a.png", "b.png", "c.png", "d.png")
    write(folder / "train.csv", "image,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n")
    return folder


def write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def table(root: Path, out: Path, **settings: object) -> Summary:
    return take(root, out, source="csv", **settings)


def test_a_table_beside_its_images(root: Path, out: Path) -> None:
    assert table(root, out) == Summary(4, 2, 0, 0, [])
    manifest = Manifest.read(out)
    assert manifest.id.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert manifest.label.tolist() == ["cat", "dog", "cat", "dog"]
    assert set(manifest.origin.tolist()) == {""}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_folders_and_extensions_as_the_user_has_them(
    tmp_path: Path, out: Path, delimiter: str
) -> None:
    root = folder_of(tmp_path / "in", "scans/1.png", "scans/2.jpg", "scans/p/3.png")
    rows = ["\ufeffid,patient,kind", "1,p1,benign", "2,p1,malign", 'p/3,p2,"benign"']
    write(root / "labels.csv", "\r\n".join(rows).replace(",", delimiter))
    settings = {"image_column": "id", "label_column": "kind", "group_column": "patient"}
    table(root, out, table="labels.csv", image_folder="scans", **settings)
    manifest = Manifest.read(out)
    assert manifest.id.tolist() == ["1", "2", "p/3"]
    assert manifest.label.tolist() == ["benign", "malign", "benign"]
    assert manifest.group.tolist() == ["p1", "p1", "p2"]


def test_an_unlabelled_test_table_with_the_same_ids(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "train/1.png", "train/2.png", "test/1.png", "test/2.png")
    write(root / "train.csv", "id,label\n1,cat\n2,dog\n")
    write(root / "test.csv", "id\n1\n2\n")
    found = table(
        root, out, image_column="id", test_table="test.csv", image_folder="train",
        test_image_folder="test",
    )  # fmt: skip
    assert found == Summary(4, 2, 2, 0, [])
    manifest = Manifest.read(out)
    assert manifest.id.tolist() == ["1", "2", "test/1", "test/2"]
    assert manifest.label.tolist() == ["cat", "dog", "", ""]
    assert manifest.origin.tolist() == ["train", "train", "test", "test"]


def test_a_labelled_test_table(root: Path, out: Path) -> None:
    image(root / "e.png", 9)
    write(root / "test.csv", "label,image\ncat,e.png\n")
    table(root, out, test_table="test.csv")
    manifest = Manifest.read(out)
    assert manifest.label[-1] == "cat"
    assert manifest.origin.tolist() == ["train"] * 4 + ["test"]
    assert classes(out) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,labels\na.png,cat\n", r"no column 'label' \(did you mean 'labels'\?\); it has"),
        ("photo,label\na.png,cat\n", r"no column 'image'.*'photo', 'label': set .*image_col"),
        ("image,label\na.png,cat\nz.png,dog\ny,dog\n", r"2 of 3 rows name a file .*z.png, y"),
        ("image,label\na.png,cat\nb.png,dog\na.png,dog\n", r"duplicates, 'a.png' in rows 2 and 4"),
        ("image,label\na.png,cat\nb.png,cat\n", r"holds one class only \('cat'\)"),
        ("image,label\na.png,cat\nb.png,\n", r"row 3 \(b.png\) has no label"),
        ("image,label\na.png,cat\n,dog\n", r"row 3 has nothing in column 'image'"),
        ("image,label\n", "has no rows"),
        ("", "is empty"),
        ("image,label\na.png,cat\n../train.png,dog\n", "outside"),
    ],
)
def test_tables_that_do_not_fit(root: Path, out: Path, text: str, sentence: str) -> None:
    image(root.parent / "train.png")
    write(root / "train.csv", text)
    with pytest.raises(UserError, match=sentence):
        table(root, out)


def test_tables_that_are_no_text(root: Path, out: Path) -> None:
    (root / "train.csv").write_bytes("image,label\na.png,Käse\n".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8"):
        table(root, out)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,label\ne.png,cow\n", "class 'cow' is not among the training table's classes"),
        ("image\na.png\n", r"row 2 names a.png, an image that row 2 of .*train.csv names too"),
        ("photo\ne.png\n", "no column 'image'"),
        ("image,label\n" + "".join(f"{n},cat\n" for n in range(10)), "template for submissions"),
    ],
)
def test_test_tables_that_do_not_fit(root: Path, out: Path, text: str, sentence: str) -> None:
    image(root / "e.png", 9)
    write(root / "test.csv", text)
    with pytest.raises(UserError, match=sentence):
        table(root, out, test_table="test.csv")


def test_names_that_fit_two_files(root: Path, out: Path) -> None:
    image(root / "a.jpg")
    write(root / "train.csv", "image,label\na,cat\nb,dog\n")
    with pytest.raises(UserError, match=r"a fits a.jpg, a.png"):
        table(root, out)


def test_paths_that_name_no_table(root: Path, out: Path) -> None:
    with pytest.raises(UserError, match=r"set download.path to its folder .* download.table to"):
        table(root / "train.csv", out)
    with pytest.raises(UserError, match=r"download.path: the folder .* does not exist"):
        table(root / "nowhere", out)
    with pytest.raises(UserError, match=r"download.table: the table .*other.csv does not exist"):
        table(root, out, table="other.csv")
    with pytest.raises(UserError, match=r"4 of 4 rows name a file that is not in .*nowhere"):
        table(root, out, image_folder="nowhere")
