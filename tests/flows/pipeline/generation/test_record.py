"""What a run leaves for people: one page for the same answers, and copies under names that tell."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import AudioRejected
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation import denoise as denoise_stage
from flows.pipeline.generation import record as generation_record
from flows.pipeline.generation.generate import TextToAudio
from flows.pipeline.generation.job import Generated
from flows.pipeline.generation.report import copied_audio, json_rows, table_lines
from flows.pipeline.generation.texts import Refused, TextLine, Texts
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import file_path, file_uri
from tests.flows.pipeline.conftest import hiss, tone, write_clip
from tests.flows.pipeline.generating import (
    denoise,
    generating,
    import_pairs,
    import_spoken,
    speak,
    speak_texts,
)
from tests.flows.pipeline.labeling.test_label import write_llama


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def speaker(settings: Settings, llm: Path, tmp_path: Path) -> Iterator[Runtime]:
    """A process with the libraries `spoken` and `street`."""
    with generating(settings, llm) as runtime:
        import_spoken(runtime, tmp_path / "library")
        import_pairs(runtime, tmp_path / "library")
        yield runtime


def page(done: Generated) -> str:
    assert done.run.manifest is not None
    return file_path(done.run.manifest).read_text()


def captions(html: str) -> list[str]:
    return re.findall(r"<h3><bdi>(.*?)</bdi></h3>", html)


def test_a_page_has_answers_demonstrations_the_prompt_and_what_was_measured(speaker: Runtime) -> None:
    html = page(speak(speaker, "two", "seven"))
    assert captions(html) == ["two", "seven", "one", "one", "two", "two"]
    assert "an audio of two" in html
    assert "speech by spoken@1" in html
    assert "shown: two" in html
    assert html.count("level_db") >= 3
    assert "likeness: of the codes" in html
    assert "mel_distance_db" not in html


def test_a_page_of_denoising_plays_what_was_asked_beside_the_answer(speaker: Runtime, folder: Path) -> None:
    clip = write_clip(folder / "a.wav", tone(500, 0.9) + hiss(0.9))
    (folder / "broken.wav").write_bytes(b"junk")
    html = page(denoise(speaker, folder))
    assert captions(html)[0] == file_uri(clip)
    assert len(captions(html)) == 3
    assert html.count("<audio") == 6
    assert "1 clips were quarantined: unsupported" in html
    assert "the noisy clip" in html


def test_a_page_shows_the_first_answers_and_says_how_many_there_are_more(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_record, "MAX_ITEMS", 2)
    html = page(speak(speaker, "a", "b", "c", seconds=0.24))
    assert captions(html) == ["a", "b", "one", "one"]
    assert "1 more answers are in analytics.generated; here are the first 2" in html
    assert "2 more demonstrations were shown" in html


def test_of_a_long_clip_the_beginning_is_heard(
    speaker: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_record, "MAX_EXCERPT_SECONDS", 0.48)
    write_clip(folder / "a.wav", tone(500, 1.0))
    html = page(denoise(speaker, folder))
    assert html.count("</b> 0.48 s</figcaption>") == 4
    assert html.count("the first 0.48 of 1.00 s</figcaption>") == 2


def test_the_same_answers_share_a_page_and_others_have_their_own(speaker: Runtime) -> None:
    first, again = speak(speaker, "one", "two"), speak(speaker, "one", "two")
    assert again.run.manifest == first.run.manifest
    others = [speak(speaker, "two", "one"), speak(speaker, "one"), speak(speaker, "one", "two", seed=1)]
    refused = Texts("s3://bucket/a.txt", (TextLine(1, "one"), TextLine(3, "two")), (Refused(2, "", "empty"),))
    others.append(speak_texts(speaker, refused))
    pages = {done.run.manifest for done in (first, *others)}
    assert len(pages) == 5


def test_clips_set_aside_for_another_reason_have_a_page_of_their_own(
    speaker: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(folder / "long.wav", tone(500, 12.0))
    first = denoise(speaker, folder, seconds=0)
    replay_place(speaker, str(folder), [], with_bar)
    monkeypatch.setattr(denoise_stage, "MAX_SECONDS", 1.0)
    second = denoise(speaker, folder, seconds=0)
    assert "quarantined: prompt_too_long" in page(first)
    assert "quarantined: too_long" in page(second)


def test_copies_have_names_that_tell_and_the_bytes_of_the_audio(speaker: Runtime, tmp_path: Path) -> None:
    done = speak(speaker, "one & two", "../../etc", "日本")
    out = tmp_path / "out"
    copies = copied_audio(speaker, done.record, str(out))
    names = [Path(uri).name.rpartition("-")[0] for uri in copies.values()]
    assert names == ["one-two", "etc", "audio"]
    for _, _, audio in done.record.with_audio:
        copy = file_path(copies[audio.work_key])
        assert copy.parent == out
        assert copy.read_bytes() == file_path(audio.uri).read_bytes()
    assert [row["uri"] for row in json_rows(done.record, copies)] == list(copies.values())
    assert [row["uri"] for row in json_rows(done.record, {})] == [a.uri for _, _, a in done.record.with_audio]


def test_audio_that_somebody_removed_is_named(speaker: Runtime, tmp_path: Path) -> None:
    done = speak(speaker, "one")
    [(_, _, audio)] = done.record.with_audio
    file_path(audio.uri).unlink()
    with pytest.raises(AudioRejected, match="repeat the request"):
        copied_audio(speaker, done.record, str(tmp_path / "out"))


@pytest.mark.parametrize("changed", [False, True])
def test_pages_and_audio_that_were_lost_or_changed_are_written_again(
    speaker: Runtime, folder: Path, *, changed: bool
) -> None:
    write_clip(folder / "a.wav", tone(500, 0.7))

    def ask() -> list[Generated]:
        refused = Texts(
            "s3://bucket/a.txt", (TextLine(1, "one"), TextLine(3, "two")), (Refused(2, "", "empty"),)
        )
        return [speak(speaker, "one", "two"), speak_texts(speaker, refused), denoise(speaker, folder)]

    first, place = ask(), Path(speaker.settings.storage_uri)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for path in before:
        path.unlink()
        if changed:
            path.write_bytes(b"other")
    again = ask()
    assert [done.run.manifest for done in again] == [done.run.manifest for done in first]
    assert [done.run.counts["restore.restored"] for done in again] == [2, 0, 1]
    assert sum(done.run.counts["generate.generated"] for done in again) == 0
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert sum(done.run.counts["restore.restored"] for done in ask()) == 0


def test_audio_that_decodes_to_other_bits_gets_another_name(
    speaker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(_, _, before)] = speak(speaker, "one").record.with_audio
    file_path(before.uri).unlink()
    decode = TextToAudio.decode
    monkeypatch.setattr(TextToAudio, "decode", lambda *asked: decode(*asked) * 0.5)
    [(_, _, after)] = speak(speaker, "one").record.with_audio
    assert (after.work_key, after.run_id) == (before.work_key, before.run_id)
    assert after.uri != before.uri
    assert hashlib.sha256(file_path(after.uri).read_bytes()).digest() == after.sha256


def test_a_clip_without_audio_is_a_row_that_says_why(speaker: Runtime, folder: Path) -> None:
    (folder / "broken.wav").write_bytes(b"junk")
    record = denoise(speaker, folder).record
    uri = file_uri(folder / "broken.wav")
    assert list(json_rows(record, {})) == [
        {"asked": uri, "status": "quarantined", "uri": None, "reason": "unsupported"}
    ]
    assert list(table_lines(record, {})) == [f"quarantined: unsupported  {uri}"]
