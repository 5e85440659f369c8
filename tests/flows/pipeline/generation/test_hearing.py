"""What a judge hears stands beside each answer, heard once, and its absence is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from core.evaluation.whisper import MISSING, SAMPLE_RATE
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.job import Generated, run_texts
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.generation.texts import given_texts
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import file_path
from tests.flows.pipeline.generating import generating, import_spoken
from tests.flows.pipeline.labeling.test_label import write_llama


class Listener:
    """Hears `one` in everything, and remembers how long it was."""

    name = "listener 1"

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def transcript(self, waveform: Tensor) -> str:
        self.seconds.append(waveform.shape[-1] / SAMPLE_RATE)
        return "One."


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def speaker(settings: Settings, llm: Path, tmp_path: Path) -> Iterator[Runtime]:
    with generating(settings, llm) as runtime:
        import_spoken(runtime, tmp_path / "library")
        yield runtime


def ask(runtime: Runtime, *texts: str, judge: bool = True) -> Generated:
    request = AudioRequest("spoken", seconds=0.48)
    return run_texts(runtime, "speech", request, given_texts(texts), with_bar, judge=judge)


def page(done: Generated) -> str:
    return file_path(str(done.run.manifest)).read_text()


def test_what_is_heard_stands_in_the_row_and_on_the_page(speaker: Runtime) -> None:
    vars(speaker)["whisper"] = listener = Listener()
    done = ask(speaker, "one", "one two", "!")
    metrics = {answer.name: audio.metrics for _, answer, audio in done.record.with_audio}
    assert {text: of_text.get("word_error_rate") for text, of_text in metrics.items()} == {
        "one": 0.0,
        "one two": 0.5,
        "!": None,
    }
    assert all((one["heard"], one["heard_by"]) == ("One.", "listener 1") for one in metrics.values())
    assert all("level_db" in of_text for of_text in metrics.values())
    assert listener.seconds == pytest.approx([0.48] * 3)
    assert "One." in page(done)
    assert "words heard wrong" in page(done)


def test_answers_from_before_are_heard_and_none_twice(speaker: Runtime) -> None:
    first = ask(speaker, "one", "two", judge=False)
    assert "One." not in page(first)
    vars(speaker)["whisper"] = listener = Listener()
    second = ask(speaker, "two", "one")
    assert (second.run.counts["generate.generated"], second.run.counts["judge.heard"]) == (0, 2)
    assert "One." in page(second)
    assert ask(speaker, "two", "one").run.manifest == second.run.manifest
    assert len(listener.seconds) == 2
    vars(speaker)["whisper"] = other = Listener()
    other.name = "listener 2"
    ask(speaker, "one")
    assert len(other.seconds) == 1


def test_without_a_judge_the_run_says_so_and_the_answers_stand(speaker: Runtime) -> None:
    vars(speaker)["whisper"] = None
    done = ask(speaker, "one")
    assert done.record.remark == MISSING
    assert "install wordwave[judge]" in page(done)
    assert done.run.counts["generate.generated"] == 1
    assert not done.record.words
    assert "install wordwave[judge]" not in page(ask(speaker, "one", judge=False))
