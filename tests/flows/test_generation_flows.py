"""The flows that answer with audio, on a real Prefect server, as a form would start them."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import PromptError
from flows.flow_runs.form_flow import FormRefused
from flows.pipeline.storage import StorageRefused
from flows.pipeline.storage.uris import file_path
from tests.e2e.tables import rows
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, tone, write_clip
from tests.flows.pipeline.generating import import_pairs, import_spoken
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.flows.test_flows import artifact

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@pytest.fixture
def speaker(worker: Path, llm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker whose LLM answers with audio, with the libraries `spoken` and `street`."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    shared_runtime(Settings()).close()
    monkeypatch.setenv("WORDWAVE_GENERATION_LLM", str(llm))
    runtime = shared_runtime(Settings())
    import_spoken(runtime, worker / "spoken")
    import_pairs(runtime, worker / "street")
    return worker


def generated(database: Database) -> list[dict[str, Any]]:
    return rows(database.url("analyst"), "SELECT * FROM analytics.generated ORDER BY text, asked_uri")


def test_texts_become_speech_and_the_run_says_where_it_is_heard(speaker: Path, database: Database) -> None:
    from flows.generation import generate_speech

    counts = generate_speech("spoken", ["one", "three"])
    assert counts["generate.generated"] == 2
    assert [(row["text"], row["task"]) for row in generated(database)] == [
        ("one", "speech"),
        ("three", "speech"),
    ]
    page = file_path(str(counts["page"]))
    assert page.parent.name == counts["run"]
    assert "<html" in page.read_text()
    summary, table = artifact("generate-speech-summary"), artifact("generate-speech-table")
    assert f"To look at and listen to: `{counts['page']}`" in summary.data
    shown = json.loads(table.data)
    assert [row["asked"] for row in shown] == ["one", "three"]
    assert [row["audio"] for row in shown] == [row["uri"] for row in generated(database)]
    [run] = rows(database.url("writer"), "SELECT * FROM runs WHERE kind = 'generate-speech'")
    assert (run["flow_run_id"], run["status"]) == (str(summary.flow_run_id), "completed")


def test_a_second_run_leaves_the_page_and_all_else_as_it_is(speaker: Path, database: Database) -> None:
    from flows.generation import generate_speech

    first = generate_speech("spoken", ["one"])
    before = generated(database)
    second = generate_speech("spoken", ["one"])
    assert second.pop("run") != first.pop("run")
    assert second.pop("page") == first.pop("page")
    assert {name: count for name, count in second.items() if count} == {
        "texts.read": 1,
        "page.unchanged_pages": 1,
    }
    assert generated(database) == before


def test_texts_of_a_file_become_sounds_and_bad_lines_are_shown(speaker: Path, database: Database) -> None:
    from flows.generation import generate_sound
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    import_spoken(shared_runtime(Settings()), speaker / "spoken", "sound")
    bad = b'"two\nlines"\n' + b"a" * 10_000 + b"\n\x00\xff\n"
    (speaker / "texts.csv").write_bytes(b"text\none\n" + bad + b"<b>three</b>\n")
    counts = generate_sound("spoken", texts_uri=str(speaker / "texts.csv"))
    assert (counts["texts.read"], counts["texts.refused"], counts["generate.generated"]) == (2, 3, 2)
    kept = file_path(str(counts["page"])).with_name("refused.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in kept] == [
        3,
        5,
        6,
    ]  # a row over two lines is named by its first
    summary, table = artifact("generate-sound-summary"), artifact("generate-sound-table")
    assert "3 lines were set aside" in summary.data
    assert "- line 5: the text" in summary.data
    assert [row["status"].partition(",")[0] for row in json.loads(table.data)] == [
        "refused",
        "refused",
        "refused",
        "generated",
        "generated",
    ]
    page = file_path(str(counts["page"])).read_text()
    assert "&lt;b&gt;three&lt;/b&gt;" in page
    assert "<b>three</b>" not in page


def test_a_file_of_bad_lines_alone_leaves_a_page_that_says_so(speaker: Path, database: Database) -> None:
    from flows.generation import generate_speech

    (speaker / "texts.txt").write_text("###\n\n")
    counts = generate_speech("spoken", texts_uri=str(speaker / "texts.txt"))
    assert (counts["texts.read"], counts["texts.refused"]) == (0, 2)
    assert "2 lines were set aside" in file_path(str(counts["page"])).read_text()
    assert generated(database) == []


def test_clips_are_denoised_and_those_that_cannot_be_are_set_aside(speaker: Path, database: Database) -> None:
    from flows.generation import denoise_clips

    day = speaker / "2026-11-21"
    write_clip(day / "a.wav", tone(500, 0.8) + hiss(0.8))
    write_clip(day / "long.wav", hiss(12.0))
    (day / "broken.wav").write_bytes(b"junk")
    counts = denoise_clips(f"{speaker}/{{day}}", "street", day="2026-11-21", slice_seconds=0)
    assert {name: count for name, count in counts.items() if name.startswith("denoise") and count} == {
        "denoise.generated": 1,
        "denoise.quarantined": 1,
        "denoise.quarantined:prompt_too_long": 1,
    }
    [row] = generated(database)
    assert row["asked_uri"].endswith("2026-11-21/a.wav")
    assert row["duration"] == pytest.approx(0.8, abs=1e-3)
    waiting = rows(database.url("analyst"), "SELECT stage, reason FROM analytics.quarantine ORDER BY stage")
    assert waiting == [
        {"stage": "denoise", "reason": "prompt_too_long"},
        {"stage": "tokenize", "reason": "unsupported"},
    ]
    statuses = [row["status"] for row in json.loads(artifact("denoise-clips-table").data)]
    assert statuses == ["quarantined: unsupported", "quarantined: prompt_too_long", "generated"]


def test_bad_requests_fail_before_anything_is_made(speaker: Path, database: Database, tmp_path: Path) -> None:
    from flows.generation import denoise_clips, generate_speech

    for texts in ([""], ["a" * 10_000], ["one\ntwo"], ["###"]):
        with pytest.raises(FormRefused, match="texts"):
            generate_speech("spoken", texts)
    with pytest.raises(ValueError, match="give texts, or the place of a file"):
        generate_speech("spoken")
    with pytest.raises(PromptError, match="library street@1 is for denoise, not for speech"):
        generate_speech("street", ["one"])
    with pytest.raises(PromptError, match="library spoken@1 is for speech, not for denoise"):
        denoise_clips(str(speaker), "spoken")
    (tmp_path / "texts.txt").write_text("one")
    with pytest.raises(StorageRefused, match="may not be read"):
        generate_speech("spoken", texts_uri=str(tmp_path / "texts.txt"))
    assert generated(database) == []


def test_a_generation_is_verified_and_undone(speaker: Path, database: Database) -> None:
    from uuid import UUID

    from flows.generation import generate_speech
    from flows.quality import verify_run
    from flows.repair import undo_run

    made = generate_speech("spoken", ["one", "two", "three"], temperature=1.0)
    run = UUID(str(made["run"]))
    assert verify_run(run)["verify.passed"] == 3
    checked = {row["check"]: row["finding"] for row in json.loads(artifact("verify-run-table").data)}
    assert checked["audio"] == "3 answers have the same codes as stored"
    assert checked["files"] == "4 files have the same bytes as written"
    assert undo_run(run)["undo.retracted"] == 3
    assert generated(database) == []
