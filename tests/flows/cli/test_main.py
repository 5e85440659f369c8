"""What the command line refuses before anything is read."""

import json
from datetime import time

import pytest
from click.testing import CliRunner

from flows.cli import main as cli
from flows.cli.main import COMMANDS, wordwave
from flows.cli.output import echo_json
from flows.server.nights.places import NightlyPlace


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
    echo_json(row)
    line = capsys.readouterr().out.removesuffix("\n")
    assert line.isprintable()
    assert "犬" in line
    assert json.loads(line) == row


@pytest.mark.parametrize("name", [name for names in COMMANDS.values() for name in names])
def test_each_command_is_found_and_says_what_it_does(name: str) -> None:
    shown = CliRunner().invoke(wordwave, [name, "--help"])
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: wordwave {name}")


def test_a_command_that_is_not_there_is_refused() -> None:
    refused = CliRunner().invoke(wordwave, ["lable"])
    assert refused.exit_code == 2
    assert "No such command 'lable'" in refused.output


def test_help_lists_each_command_once_and_on_one_line() -> None:
    listed = CliRunner().invoke(wordwave, ["--help"]).output.partition("Start:")[2]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ")]
    assert sorted(names) == sorted(name for names in COMMANDS.values() for name in names)


NIGHTS = ["up", "--nightly", "s3://calls/{day}", "--nightly", "s3://porch/{day}"]


def test_each_place_takes_the_options_of_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[NightlyPlace]] = []
    monkeypatch.setattr("flows.server.up.run_up", lambda port, nights, _: started.append(nights))
    monkeypatch.setattr("flows.server.interruption.exit_when_interrupted", lambda: None)
    at = ["--library", "sounds", "--library", "birds", "--at", "02:00", "--at", "23:30"]
    assert CliRunner().invoke(wordwave, [*NIGHTS, *at, "--timezone", "Asia/Tokyo"]).exit_code == 0
    assert CliRunner().invoke(wordwave, ["up"]).exit_code == 0
    assert started == [
        [
            NightlyPlace("s3://calls/{day}", "sounds", time(2), "Asia/Tokyo"),
            NightlyPlace("s3://porch/{day}", "birds", time(23, 30), "Asia/Tokyo"),
        ],
        [],
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--library is given 0 times for 2 --nightly"),
        (["--library", "a", "--at", "01:00", "--at", "02:00", "--at", "03:00"], "--at is given 3 times"),
        (["--library", "a", "--nightly", "s3://calls/{day}/"], "a place is given twice"),
    ],
)
def test_options_that_fit_no_place_are_refused(
    monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setattr("flows.server.interruption.exit_when_interrupted", lambda: None)
    refused = CliRunner().invoke(wordwave, [*NIGHTS, *options])
    assert refused.exit_code == 2
    assert said in refused.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "--label-studio", "folder"], "two ways to decide"),
        (["--audio-url", "https://host/{path}"], "add --label-studio FOLDER"),
    ],
)
def test_a_queue_is_printed_or_written_in_one_way(options: list[str], message: str) -> None:
    refused = CliRunner().invoke(wordwave, ["review-queue", "sounds", *options])
    assert refused.exit_code == 2
    assert message in refused.output
