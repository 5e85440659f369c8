"""Texts to audio: one object and one row per text and work key, whatever the batch."""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from core.errors import PromptError, PromptTooLong
from core.tokens.clip_codes import AudioCodes
from db.generated import StoredAudio
from db.libraries import LibraryNotFound
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation import generate
from flows.pipeline.generation import record as generation_record
from flows.pipeline.generation.generate import BATCH_SIZE, Answered, TextQuestion, TextToAudio
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.generation.texts import read_texts
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.maintenance.verify import verify
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Storage
from flows.pipeline.storage.uris import file_path
from tests.flows.pipeline.conftest import new_run, rows
from tests.flows.pipeline.generating import (
    generating,
    import_spoken,
    objects,
    speak,
    speak_texts,
    stored,
)
from tests.flows.pipeline.labeling.test_label import write_llama


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def speaker(settings: Settings, llm: Path, tmp_path: Path) -> Iterator[Runtime]:
    """A process with the library `spoken`."""
    with generating(settings, llm) as runtime:
        import_spoken(runtime, tmp_path / "library")
        yield runtime


def object_name(audio: StoredAudio, extension: str) -> str:
    return f"{audio.work_key.hex()}-{audio.sha256.hex()[:16]}.{extension}"


def test_each_text_has_an_object_and_a_row_that_describes_it(speaker: Runtime, settings: Settings) -> None:
    done = speak(speaker, "one", "seven")
    assert done.run.counts["generate.generated"] == 2
    found = {answer.name: answer.audio for answer in done.record.answers}
    assert list(found) == ["one", "seven"]
    assert isinstance(done.record.generation, TextToAudio)
    codes = done.record.generation.codes(TextQuestion(text) for text in found)
    for text, audio in found.items():
        assert audio is not None
        data = file_path(audio.uri).read_bytes()
        samples, rate = soundfile.read(io.BytesIO(data))
        assert Path(audio.uri).name == object_name(audio, "wav")
        assert audio.sha256 == hashlib.sha256(data).digest()
        assert (len(samples), rate, audio.duration) == (11_520, 16_000, 0.72)
        assert [len(layer) for layer in codes[TextQuestion(text)]] == [6, 12, 24]
        assert audio.metrics["peak"] == pytest.approx(abs(samples).max(), abs=1e-4)
        assert audio.is_demonstration == ("likeness" in audio.metrics) == (text == "one")


def test_a_second_run_asks_no_model_and_writes_nothing(
    speaker: Runtime, settings: Settings, llm: Path
) -> None:
    first = speak(speaker, "one", "seven")
    before = stored(speaker.engine)
    times = {path: path.stat().st_mtime_ns for path in Path(settings.storage_uri).rglob("*")}
    with generating(settings, llm) as another:
        second = speak(another, "seven", "one", "one")
        assert second.run.counts["generate.generated"] == 0
        text_to_audio = second.record.generation
        assert isinstance(text_to_audio, TextToAudio)
        assert "_prefix" not in vars(text_to_audio.generator)
        again = speak(another, "one", "seven")
    assert again.run.manifest == first.run.manifest
    assert again.run.counts["page.unchanged_pages"] == 1
    assert stored(speaker.engine) == before
    left = {path: path.stat().st_mtime_ns for path in times if path.is_file()}
    assert left == {path: time for path, time in times.items() if path.is_file()}


@pytest.mark.parametrize(
    "change",
    [{"seconds": 0.48}, {"seed": 1}, {"format": "flac"}, {"temperature": 0.5}, {"repeats": 1}],
    ids=str,
)
def test_another_request_is_other_work_and_what_was_made_stays(
    speaker: Runtime, settings: Settings, change: dict[str, Any]
) -> None:
    speak(speaker, "one")
    assert speak(speaker, "one", **change).run.counts["generate.generated"] == 1
    assert len(objects(settings)) == len(stored(speaker.engine)) == 2


def test_seconds_that_mean_the_same_blocks_are_the_same_work(speaker: Runtime) -> None:
    speak(speaker, "one", seconds=0.72)
    assert speak(speaker, "one", seconds=0.7).run.counts["generate.generated"] == 0


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_text_sounds_the_same_alone_and_in_any_batch(speaker: Runtime, temperature: float) -> None:
    text_to_audio = TextToAudio(
        speaker, "speech", AudioRequest("spoken", seconds=0.24, temperature=temperature)
    )
    text_to_audio.prepare(new_run(speaker.engine))
    asked = [TextQuestion(f"text {number}") for number in range(9)]
    together, alone = text_to_audio.answer(asked), [text_to_audio.answer([one])[0] for one in reversed(asked)]
    for one, other in zip(together, reversed(alone), strict=True):
        assert one.codes == other.codes
        assert torch.equal(one.waveform, other.waveform)


def test_a_batch_opens_the_store_once(speaker: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    text_to_audio = TextToAudio(speaker, "speech", AudioRequest("spoken", seconds=0.24))
    run_id = new_run(speaker.engine)
    text_to_audio.prepare(run_id)
    opened: list[str] = []
    storage = speaker.storage

    def recorded(place: str) -> Storage:
        opened.append(place)
        return storage(place)

    monkeypatch.setattr(speaker, "storage", recorded)
    assert text_to_audio.answer_batch([TextQuestion("one"), TextQuestion("two")], run_id)["generated"] == 2
    assert opened == [speaker.settings.storage_uri]


def test_flac_is_written_where_it_is_asked_for(speaker: Runtime, settings: Settings) -> None:
    [(_, _, audio)] = speak(speaker, "one", format="flac").record.with_audio
    [name] = objects(settings)
    assert name == Path(audio.uri).name == object_name(audio, "flac")
    assert soundfile.info(file_path(audio.uri)).format == "FLAC"


def test_the_seed_of_an_answer_comes_of_the_run_and_its_work(speaker: Runtime) -> None:
    [first], [other] = (speak(speaker, "one", seed=seed).record.with_audio for seed in (1, 2))
    [text] = speak(speaker, "two", seed=1).record.with_audio
    assert len({one.seed for _, _, one in (first, other, text)}) == 3


def test_what_cannot_be_asked_fails_before_anything_is_said(
    speaker: Runtime, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match="the text is empty"):
        speak(speaker, "one", " ")
    with pytest.raises(PromptError, match="10000 characters, at most 200"):
        speak(speaker, "one", "a" * 10_000)
    with pytest.raises(PromptTooLong, match="the context holds 1024: ask for shorter audio"):
        speak(speaker, "one", seconds=30)
    with pytest.raises(LibraryNotFound, match="did you mean spoken"):
        speak(speaker, "one", library="spokn")
    with pytest.raises(PromptError, match="library spoken@1 is for speech, not for sound"):
        TextToAudio(speaker, "sound", AudioRequest("spoken", seconds=0.72))
    with generating(settings, None) as silent, pytest.raises(PromptError, match="WORDWAVE_GENERATION_LLM"):
        speak(silent, "one")
    assert stored(speaker.engine) == []
    assert objects(settings) == {}


@pytest.mark.parametrize("name", ["seconds", "temperature", "top_p"])
def test_what_is_no_number_is_no_request(name: str) -> None:
    request = AudioRequest("spoken", seconds=0.72)
    not_a_number: dict[str, Any] = {name: math.nan}
    with pytest.raises(ValueError, match=f"{name} must be a finite number, not nan"):
        replace(request, **not_a_number)


def test_bad_lines_of_a_file_are_set_aside_and_the_others_are_done(
    speaker: Runtime, settings: Settings, folder: Path
) -> None:
    lines = [b"one", b"", b"two ### three", b"a" * 10_000, b"b\xff\xfe", b"seven", b"one"]
    (folder / "texts.txt").write_bytes(b"\n".join(lines) + b"\n")
    done = speak_texts(speaker, read_texts(speaker, str(folder / "texts.txt")))
    assert [answer.name for answer in done.record.answers] == ["one", "seven"]
    assert done.run.counts["texts.read"] == 3
    assert done.run.counts["texts.refused"] == 4
    assert done.run.manifest is not None
    kept = file_path(done.run.manifest).with_name("refused.jsonl").read_text().splitlines()
    assert [(row["number"], row["reason"][:20]) for row in map(json.loads, kept)] == [
        (2, "the text is empty: d"),
        (3, "the text 'two ### th"),
        (4, "the text 'aaaaaaaaaa"),
        (5, "the text 'b\\udcff\\ud"),
    ]


def test_audio_is_verified_a_batch_at_a_time_and_nothing_is_written(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = speak(speaker, "one", "two", "seven", seconds=0.24).run.id
    before = rows(speaker.engine, "SELECT * FROM token_sequences ORDER BY content_sha256")
    asked: list[int] = []
    answer = TextToAudio.answer

    def counted(self: TextToAudio, batch: Sequence[TextQuestion]) -> list[Answered]:
        asked.append(len(batch))
        return answer(self, batch)

    monkeypatch.setattr(generate, "BATCH_SIZE", 2)
    monkeypatch.setattr(TextToAudio, "answer", counted)
    [_, audio, _] = verify(speaker, run, sample=50)
    assert (audio.passed, audio.finding) == (True, "3 answers have the same codes as stored")
    assert asked == [2, 1]
    assert before == rows(speaker.engine, "SELECT * FROM token_sequences ORDER BY content_sha256")


def test_audio_too_long_for_any_text_fails_the_run_and_refuses_no_line(
    speaker: Runtime, folder: Path
) -> None:
    (folder / "texts.txt").write_text("one\nseven\n")
    with pytest.raises(PromptTooLong, match="ask for shorter audio"):
        speak_texts(speaker, read_texts(speaker, str(folder / "texts.txt")), seconds=30)
    [(status,)] = rows(speaker.engine, "SELECT status FROM runs WHERE kind = 'generate-speech'")
    assert status == "failed"


def test_undone_audio_is_made_again_as_it_was(speaker: Runtime, settings: Settings) -> None:
    first = speak(speaker, "one", "two")
    before, files = stored(speaker.engine), objects(settings)
    undone = undo(speaker, first.run.id)
    assert undone.counts["undo.retracted"] == 2
    assert stored(speaker.engine) == []
    assert objects(settings) == files
    assert speak(speaker, "one", "two").run.counts["generate.generated"] == 2
    assert (stored(speaker.engine), objects(settings)) == (before, files)
    assert undo(speaker, undone.id).counts["undo.restored"] == 0
    assert rows(speaker.engine, "SELECT count(*) FROM generated_audio") == [(4,)]


def stumble(
    monkeypatch: pytest.MonkeyPatch, bad: set[str], error: Exception, largest: int = BATCH_SIZE
) -> list[int]:
    """Let no batch with these texts be answered, and none over a size; the sizes that were tried."""
    answer, sizes = TextToAudio.answer, list[int]()

    def stumbling(self: TextToAudio, batch: Sequence[TextQuestion]) -> list[Answered]:
        sizes.append(len(batch))
        if len(batch) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if bad & {asked.text for asked in batch}:
            raise error
        return answer(self, batch)

    monkeypatch.setattr(TextToAudio, "answer", stumbling)
    return sizes


def test_a_text_that_the_model_fails_on_costs_itself_and_is_asked_again(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stumble(patch, {"seven"}, RuntimeError("boom"))
        done = speak(speaker, "one", "seven", "two")
    assert [(one.name, one.status, one.reason) for one in done.record.answers] == [
        ("one", "generated", None),
        ("seven", "failed", "speech: RuntimeError: boom"),
        ("two", "generated", None),
    ]
    assert (done.run.counts["generate.generated"], done.run.counts["generate.failed"]) == (2, 1)
    assert done.run.manifest
    assert b"1 texts were not answered" in file_path(done.run.manifest).read_bytes()
    again = speak(speaker, "one", "seven", "two")
    assert again.run.counts["generate.generated"] == 1


def test_texts_that_the_model_fails_on_with_the_librarys_own_fail_the_run(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stumble(monkeypatch, {"one", "two", "seven"}, RuntimeError("boom"))
    with pytest.raises(RuntimeError, match="boom"):
        speak(speaker, "seven")


def test_texts_too_many_for_memory_are_answered_in_smaller_batches(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = stumble(monkeypatch, set(), RuntimeError(), largest=2)
    done = speak(speaker, *map(str, range(5)), seconds=0.24)
    assert done.run.counts["generate.generated"] == 5
    assert sizes == [5, 2, 2, 1]


def test_audio_that_is_not_finite_is_never_stored(speaker: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = TextToAudio.decode

    def decoded(self: TextToAudio, codes: AudioCodes, seed: int) -> torch.Tensor:
        quiet = TextQuestion("seven")
        return decode(self, codes, seed) * (math.nan if seed == self.seed(quiet) else 1.0)

    monkeypatch.setattr(TextToAudio, "decode", decoded)
    done = speak(speaker, "one", "seven")
    assert [one.status for one in done.record.answers] == ["generated", "failed"]


def test_other_bits_for_the_same_work_leave_the_object_of_the_row_as_it_is(
    speaker: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(_, _, audio)] = speak(speaker, "one").record.with_audio
    text_to_audio = TextToAudio(speaker, "speech", AudioRequest("spoken", seconds=0.72))
    text_to_audio.prepare(new_run(speaker.engine))
    decode = TextToAudio.decode
    monkeypatch.setattr(TextToAudio, "decode", lambda self, *asked: 0.5 * decode(self, *asked))
    assert text_to_audio.answer_batch([TextQuestion("one")], new_run(speaker.engine))["generated"] == 0
    assert len(objects(settings)) == 2
    assert hashlib.sha256(file_path(audio.uri).read_bytes()).digest() == audio.sha256


def test_a_page_reads_the_codes_of_the_answers_that_it_shows(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_record, "MAX_ITEMS", 2)
    read: list[int] = []
    codes = TextToAudio.codes

    def counted(self: TextToAudio, asked: Iterable[TextQuestion]) -> dict[TextQuestion, AudioCodes]:
        found = codes(self, asked)
        read.append(len(found))
        return found

    monkeypatch.setattr(TextToAudio, "codes", counted)
    done = speak(speaker, "one", "two", "seven", seconds=0.24)
    assert len(done.record.with_audio) == 3
    assert read == [2]
