"""Names of strangers in sentences: one short line that a terminal only shows."""

import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifier.core.errors import UserError
from classifier.core.process import stage
from classifier.core.wording import duration, first, printable, quoted, short, warn

HOSTILE = "a\nerror: b\r\x1b[2J\x1b]0;t\x07\x9b31m\u202egnp.exe\u200b\udcff\u2028c"


@given(st.text(st.characters(), max_size=30))
@example(HOSTILE)
@settings(deadline=None, max_examples=200)
def test_what_is_printed_is_one_line_that_a_terminal_only_shows(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    shown.encode("utf-8")  # no lone surrogates either
    if text.isprintable():
        assert shown == text


@given(st.text(st.characters(), max_size=1000))
@example(HOSTILE * 100)
@settings(deadline=None, max_examples=100)
def test_sentences_stay_short(text: str) -> None:
    for shown in (short(text), quoted(text), first([text] * 9)):
        assert shown.isprintable()
        assert len(shown) <= 700
    assert len(str(UserError(text * 10))) <= 800
    assert str(UserError(text)).isprintable()


def test_warnings_and_errors_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        warn(f"class {HOSTILE} is odd")
        raise UserError(f"{HOSTILE}: rename it.")

    with pytest.raises(SystemExit):
        stage("train", fail)
    sys.stderr.flush()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["warning", "error"]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("seconds", "told"), [(3.4, "3 s"), (99, "99 s"), (120, "2 min"), (9000, "2.5 h")]
)
def test_times_are_told_in_their_unit(seconds: float, told: str) -> None:
    assert duration(seconds) == told
