"""What is written for people can be opened, and usage says what was used."""

import json
from pathlib import Path

import pytest
import torch

from core.audio.resampling import read_waveform
from core.training.codec.progress import CodebookUsage, append_log, write_samples


def test_usage_counts_what_was_chosen_of_late() -> None:
    usage = CodebookUsage((4, 8))
    for _ in range(50):
        usage.update([torch.tensor([[0, 1]]), torch.arange(8)])
    assert usage.share == [0.5, 1.0]
    assert usage.perplexity == pytest.approx([2.0, 8.0], rel=1e-4)


def test_a_code_that_is_chosen_no_more_drops_out() -> None:
    usage = CodebookUsage((2,))
    usage.update([torch.tensor([0])])
    for _ in range(200):
        usage.update([torch.tensor([1])])
    assert usage.share == [0.5]


def test_each_log_line_stands_alone(tmp_path: Path) -> None:
    for step in (50, 100):
        append_log(tmp_path / "log.jsonl", step, {"mel": 1 / 3}, CodebookUsage((4,)))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100]
    assert lines[0]["mel"] == 0.33333


def test_samples_are_the_original_and_then_the_decoded(tmp_path: Path) -> None:
    original, decoded = torch.full((2, 1, 3840), 0.5), torch.full((2, 1, 3840), -0.25)
    write_samples(tmp_path / "samples", original, decoded, 16000)
    waveform, info = read_waveform(tmp_path / "samples" / "1.wav", 16000)
    assert info.num_samples == 7680
    torch.testing.assert_close(waveform[0, 0, ::3840], torch.tensor([0.5, -0.25]), atol=1e-4, rtol=0)
    assert (tmp_path / "samples" / "1.png").read_bytes().startswith(b"\x89PNG")
