"""What the command line refuses before anything is read."""

import pytest
from click.testing import CliRunner

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
