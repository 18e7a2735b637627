"""Forms are taken apart as browsers, curl and httpx make them; whatever else comes is refused."""

import time

import pytest

pytest.importorskip("fastapi")

from classifier.serve.form import START, FormFile, TooManyPartsError, files

TYPE = "multipart/form-data; boundary=b"
DISPOSITION = b"content-disposition: form-data; name=images; filename="


def form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytearray:
    return bytearray(START + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end)


def test_files_are_found_among_fields_and_keep_every_byte() -> None:
    data = bytes(range(256)) + b"\r\n--a\r\n--\r\n\r\n"
    body = form(
        b'Content-Disposition: form-data; name="note"\r\n\r\ntext',
        b"Content-Type: image/png\r\n" + DISPOSITION + b"a.png\r\n\r\n" + data,
        DISPOSITION + b'"b \\"c\\".png"\r\n\r\n',
        DISPOSITION + "Äpfel.png".encode() + b"\r\n\r\n1",
        DISPOSITION + b"\xc4.png\r\n\r\n2",
        DISPOSITION + b'""\r\n\r\n3',
    )
    assert files(TYPE, body, 6) == [
        FormFile("a.png", data),
        FormFile('b "c".png', b""),
        FormFile("Äpfel.png", b"1"),
        FormFile("Ä.png", b"2"),
        FormFile("", b"3"),
    ]


def test_text_before_and_after_the_form_and_blanks_behind_a_boundary_are_allowed() -> None:
    body = form(end=b"").replace(START, b"\r\nhello\r\n")
    body += b"--b \t\r\n" + DISPOSITION + b"a\r\n\r\n1\r\n--b--\r\nbye"
    assert files('multipart/form-data; charset=utf-8; boundary="b"', body, 1) == [
        FormFile("a", b"1")
    ]
    assert files(TYPE, form(), 1) == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", form()),
        ("multipart/form-data; boundary=", form()),
        ("multipart/form-data; boundary=" + "x" * 71, form()),
        ("multipart/form-data; boundary=c", form()),
        (TYPE, form(end=b"")),
        (TYPE, form(DISPOSITION + b"a\r\n\r\n1", end=b"")),
        (TYPE, form(DISPOSITION + b"a\r\n\r\n1", end=b"--b\r\n")),
        (TYPE, form(b"nothing\r\n\r\n1")),
        (TYPE, form(DISPOSITION + b"a")),
        (TYPE, form(b"x: " + b"y" * 9000 + b"\r\n" + DISPOSITION + b"a\r\n\r\n1")),
        (TYPE, bytearray(START + b"--bb\r\n" + DISPOSITION + b"a\r\n\r\n1\r\n--b--")),
        (TYPE, bytearray(START)),
    ],
)
def test_what_is_no_form_is_refused(kind: str, body: bytearray) -> None:
    with pytest.raises(ValueError, match=r"^no "):
        files(kind, body, 10)


def test_parts_are_counted_before_all_of_them_are_taken() -> None:
    part = DISPOSITION + b"a\r\n\r\n1"
    assert len(files(TYPE, form(*[part] * 10), 10)) == 10
    with pytest.raises(TooManyPartsError):
        files(TYPE, form(*[part] * 11), 10)
    with pytest.raises(TooManyPartsError):
        files(TYPE, form(*[part] * 300_000), 10)


@pytest.mark.parametrize("often", [b"\r", b"\n", b"\r\n", b"\r\n--", b"\r\n--a"])
def test_line_breaks_in_a_file_cost_no_more_than_other_bytes(often: bytes) -> None:
    data = often * (32 * 2**20 // len(often))
    body = form(DISPOSITION + b"a\r\n\r\n" + data)
    before = time.process_time()
    assert files(TYPE, body, 1) == [FormFile("a", data)]
    assert time.process_time() - before < 2  # a parser that stops at each took half a minute
