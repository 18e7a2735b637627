"""What the command line says of itself fits a terminal of 80 columns."""

from contextlib import suppress

import pytest

from classifier.cli import VERBS, main


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_fits_a_terminal(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with suppress(SystemExit):  # argparse's own way
        main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: ")
    assert [line for line in lines if len(line) > 80] == []


def test_recipes_are_described_within_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["recipe", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("photos-scratch ") for line in lines)
    assert [line for line in lines if len(line) > 80] == []
