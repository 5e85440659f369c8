"""What the command line refuses before anything is read."""

import json

import pytest
from click.testing import CliRunner

from flows import cli
from flows.cli import wordwave


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("label", "--min-margin"),
        ("speak", "--temperature"),
        ("speak", "--top-p"),
        ("sound", "--duration"),
        ("denoise", "--slice-seconds"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "-0.5", "inf", "some"])
def test_a_number_out_of_bounds_is_refused_by_name(command: str, option: str, value: str) -> None:
    refused = CliRunner().invoke(wordwave, [command, "here", "--library", "sounds", option, value])
    assert refused.exit_code == 2
    assert option in refused.output
    assert value in refused.output


def test_an_error_that_repeats_a_key_moves_no_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("'s3://calls/\x1b[2J\u202e.wav' is not there")

    monkeypatch.setattr(cli, "wordwave", fail)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err == "Error: 's3://calls/\\u001b[2J\\u202e.wav' is not there\n"


def test_json_is_exact_and_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"uri": "s3://calls/\x1b\x9b\u2028\u202e犬.wav"}
    cli.echo_json(row)
    line = capsys.readouterr().out.removesuffix("\n")
    assert line.isprintable()
    assert "犬" in line
    assert json.loads(line) == row
