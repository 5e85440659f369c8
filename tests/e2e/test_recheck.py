"""Rows from before the checks: what was right stays, what came of wrong audio is made anew."""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from sqlalchemy import NullPool, create_engine, text

from db.clips import add_clips
from db.engine import session_scope
from flows.pipeline.generation.job import run_denoising, run_texts
from flows.pipeline.generation.request import AudioRequest, DenoisingMethod
from flows.pipeline.generation.texts import given_texts
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.maintenance.recheck import recheck_place, suspects_of
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.tables import rows
from tests.e2e.world import RATE, World, import_into, night, opened, tone
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.spectral_gate import SpectralGate

LIBRARY = {"low.wav": tone(200), "high.wav": tone(3000)}


def flac(hertz: float, seconds: float = 0.5) -> bytes:
    file = BytesIO()
    samples = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)
    soundfile.write(file, samples, RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def opposite_phase(hertz: float) -> bytes:
    file = BytesIO()
    left = 0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE)
    soundfile.write(file, np.stack([left, -0.99 * left], axis=1), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def runtime(world: World) -> Iterator[Runtime]:
    """A process in which three clips were labeled."""
    world.put("a.wav", tone(210))
    world.put("b.flac", flac(2900))
    world.put("c.flac", flac(190))
    with opened(world.settings) as runtime:
        import_into(runtime, world.put_library(LIBRARY, {"low.wav": "low", "high.wav": "high"}))
        night(runtime, world.place)
        yield runtime


def as_owner(world: World, *statements: str) -> None:
    engine = create_engine(world.database.server.admin_url(world.database.name), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def query(world: World, statement: str) -> list[Any]:
    return [tuple(row.values()) for row in rows(world.database.url("writer"), statement)]


def forget_checks(world: World, condition: str = "true") -> None:
    """Make contents look as if they had been read before the checks."""
    as_owner(world, f"UPDATE contents SET checks = 0 WHERE {condition}")


def content_of(name: str) -> str:
    return f"(SELECT content_sha256 FROM clips WHERE uri LIKE '%/{name}')"


def test_what_is_written_today_is_not_suspect(world: World, runtime: Runtime) -> None:
    assert suspects_of(runtime, world.place) == []


def test_right_rows_are_read_once_confirmed_and_kept(world: World, runtime: Runtime) -> None:
    forget_checks(world)
    before = (
        query(world, "SELECT * FROM token_sequences ORDER BY 1"),
        query(world, "SELECT * FROM predictions"),
    )
    assert sum(found.contents for found in suspects_of(runtime, world.place)) == 3
    done = recheck_place(runtime, world.place, with_bar)
    assert done.run.counts["recheck.unchanged"] == 3
    assert done.run.counts["recheck.retracted"] == 0
    after = (
        query(world, "SELECT * FROM token_sequences ORDER BY 1"),
        query(world, "SELECT * FROM predictions"),
    )
    assert after == before
    assert suspects_of(runtime, world.place) == []


def test_audio_that_was_read_in_part_is_tokenized_and_answered_anew(world: World, runtime: Runtime) -> None:
    c = content_of("c.flac")
    as_owner(
        world,
        f"UPDATE contents SET checks = 0, num_samples = 4000 WHERE sha256 = {c}",
        "UPDATE token_sequences SET semantic = semantic[1:1], acoustic1 = acoustic1[1:2], "
        f"acoustic2 = acoustic2[1:4], levels = levels[1:1] WHERE content_sha256 = {c}",
        f"UPDATE predictions SET label = 'high' WHERE content_sha256 = {c}",
    )
    done = recheck_place(runtime, world.place, with_bar)
    assert done.run.counts["recheck.changed"] == 1
    assert done.run.counts["recheck.retracted"] == 1
    assert query(world, f"SELECT num_samples, checks FROM contents WHERE sha256 = {c}") == [(8000, 1)]
    [(codes,)] = query(world, f"SELECT cardinality(semantic) FROM token_sequences WHERE content_sha256 = {c}")
    assert codes > 1
    answers = query(
        world,
        f"SELECT label, retracted_by_run FROM predictions WHERE content_sha256 = {c} ORDER BY id",
    )
    assert answers == [("high", done.run.id), ("low", None)]
    assert made_by(world, "labels") == made_by(world, "tokens") == {done.run.id}


def made_by(world: World, kind: str) -> set[UUID]:
    """The runs that the rows of c.flac in the lake's files name."""
    files = [data for key, data in world.objects().items() if key.startswith(f"{kind}/day=")]
    found = [row for data in files for row in pq.ParquetFile(BytesIO(data)).read().to_pylist()]
    return {UUID(row["run"]) for row in found if row["uri"].endswith("/c.flac")}


def test_latents_that_are_not_finite_are_made_anew(world: World, runtime: Runtime) -> None:
    c = content_of("a.wav")
    before = query(world, f"SELECT mean FROM pooled_latents WHERE content_sha256 = {c}")
    forget_checks(world, f"sha256 = {c}")
    poison(world, c)
    done = recheck_place(runtime, world.place, with_bar)
    assert done.run.counts["recheck.changed"] == 1
    assert query(world, f"SELECT mean FROM pooled_latents WHERE content_sha256 = {c}") == before


def poison(world: World, content: str) -> None:
    """Store an infinite latent as the code from before could."""
    as_owner(
        world,
        "ALTER TABLE pooled_latents DROP CONSTRAINT IF EXISTS ck_pooled_latents_finite",
        f"UPDATE pooled_latents SET mean = set_byte(mean, 1, 124) WHERE content_sha256 = {content}",
    )


def store_other_bytes(world: World, name: str, data: bytes, channels: int = 1) -> None:
    """Store of a clip what the code from before did: these bytes, with the codes and answers it has."""
    old, digest = content_of(name), f"'\\x{hashlib.sha256(data).hexdigest()}'"
    facts = "sample_rate, num_samples, format, peak"
    columns = "codec_id, semantic, acoustic1, acoustic2, levels, run_id"
    as_owner(
        world,
        f"INSERT INTO contents (sha256, channels, checks, {facts}) "
        f"SELECT {digest}, {channels}, 0, {facts} FROM contents WHERE sha256 = {old}",
        f"INSERT INTO token_sequences (content_sha256, {columns}) "
        f"SELECT {digest}, {columns} FROM token_sequences WHERE content_sha256 = {old}",
        f"UPDATE predictions SET content_sha256 = {digest} WHERE content_sha256 = {old}",
        f"UPDATE clips SET content_sha256 = {digest} WHERE uri LIKE '%/{name}'",
    )


def test_clips_that_are_refused_today_leave_with_their_answers(world: World, runtime: Runtime) -> None:
    stereo = opposite_phase(300)
    uri = world.put("d.wav", stereo)
    with session_scope(runtime.engine) as session:
        add_clips(session, runtime.storage(uri).list(uri), uri)
    as_owner(world, f"UPDATE clips SET content_sha256 = {content_of('c.flac')} WHERE uri = '{uri}'")
    store_other_bytes(world, "d.wav", stereo, channels=2)
    done = recheck_place(runtime, uri, with_bar)
    assert done.run.counts["recheck.refused"] == 1
    assert query(world, "SELECT uri, reason FROM analytics.quarantine") == [(uri, "cancelling")]
    assert query(world, f"SELECT count(*) FROM analytics.tokens WHERE uri = '{uri}'") == [(0,)]
    assert query(world, f"SELECT count(*) FROM analytics.labels WHERE uri = '{uri}'") == [(0,)]
    assert suspects_of(runtime, uri) == []


def test_bytes_that_came_damaged_are_taken_from_their_clip(world: World, runtime: Runtime) -> None:
    store_other_bytes(world, "b.flac", b"half of it")
    done = recheck_place(runtime, world.place, with_bar)
    assert done.run.counts["recheck.damaged"] == 1
    [(sha256,)] = query(world, "SELECT content_sha256 FROM clips WHERE uri LIKE '%/b.flac'")
    assert sha256 == hashlib.sha256(flac(2900)).digest()
    assert query(world, "SELECT label FROM analytics.labels WHERE uri LIKE '%/b.flac'") == [("high",)]


def test_a_demonstration_that_was_read_in_part_has_its_librarys_answers_asked_anew(
    world: World, runtime: Runtime
) -> None:
    demonstrated = "(SELECT content_sha256 FROM demonstrations WHERE label = 'low')"
    as_owner(
        world,
        f"UPDATE contents SET checks = 0, num_samples = 100, format = 'FLAC' WHERE sha256 = {demonstrated}",
    )
    recheck_place(runtime, f"{world.clips.uri}/library", with_bar)
    standing = query(world, "SELECT count(*) FROM predictions WHERE retracted_by_run IS NULL")
    retracted = query(world, "SELECT count(*) FROM predictions WHERE retracted_by_run IS NOT NULL")
    assert (standing, retracted) == ([(3,)], [(3,)])


def test_redoing_a_night_does_not_bring_wrong_answers_back(world: World, runtime: Runtime) -> None:
    c = content_of("c.flac")
    [(run_id,)] = query(world, "SELECT DISTINCT run_id FROM predictions")
    as_owner(world, f"UPDATE contents SET checks = 0, num_samples = 4000 WHERE sha256 = {c}")
    done = recheck_place(runtime, world.place, with_bar)
    undo(runtime, undo(runtime, UUID(str(run_id))).id)
    wrong = query(
        world, f"SELECT retracted_by_run FROM predictions WHERE run_id = '{run_id}' AND content_sha256 = {c}"
    )
    assert wrong == [(done.run.id,)]


def test_the_writer_may_not_touch_tokens_of_checked_contents(world: World, runtime: Runtime) -> None:
    before = query(world, "SELECT * FROM token_sequences ORDER BY 1")
    query(world, "SELECT discard_tokens(array_agg(sha256)) FROM contents")
    assert query(world, "SELECT * FROM token_sequences ORDER BY 1") == before


@pytest.mark.parametrize("method", ["in-context", "deepfilter"])
def test_audio_made_from_wrong_audio_is_retracted_and_made_anew(
    world: World, runtime: Runtime, tmp_path: Path, method: DenoisingMethod
) -> None:
    world.clips.put("library/said.wav", tone(300, 0.72))
    manifest = world.clips.put("library/spoken.jsonl", b'{"path": "said.wav", "text": "one"}')
    pairs = world.clips.put("library/pairs.jsonl", b'{"path": "low.wav", "target": "high.wav"}')
    llm = str(write_llama(tmp_path))
    with opened(world.settings.model_copy(update={"generation_llm": llm})) as speaker:
        speaker.denoiser = SpectralGate()
        import_manifest(speaker, "spoken", manifest, "speech")
        import_manifest(speaker, "pairs", pairs, "denoise")
        run_texts(speaker, "speech", AudioRequest("spoken", seconds=0.24), given_texts(["two"]), with_bar)
        place = partition_of(world.place, "any", "UTC")
        run_denoising(speaker, place, AudioRequest("pairs", seconds=0.24), with_bar, method=method)
        shown = "(SELECT content_sha256 FROM demonstrations WHERE label = 'one')"
        c = content_of("c.flac")
        as_owner(
            world,
            "UPDATE contents SET checks = 0, num_samples = 100, format = 'FLAC' "
            f"WHERE sha256 IN ({shown}, {c})",
        )
        done = recheck_place(speaker, world.clips.uri, with_bar)
    assert done.left == 0
    answers = "SELECT coalesce(text, 'c') AS asked, retracted_by_run FROM generated_audio WHERE "
    answers += f"text IS NOT NULL OR content_sha256 = {c} ORDER BY asked, id"
    assert query(world, answers) == [
        ("c", done.run.id),
        ("c", None),
        ("two", done.run.id),
        ("two", None),
    ]


def test_answers_of_models_that_are_not_set_are_retracted_and_counted(
    world: World, runtime: Runtime, tmp_path: Path
) -> None:
    c = content_of("c.flac")
    as_owner(world, f"UPDATE contents SET checks = 0, num_samples = 4000 WHERE sha256 = {c}")
    with opened(world.settings.model_copy(update={"llm": str(write_llama(tmp_path))})) as other:
        done = recheck_place(other, world.place, with_bar)
    assert (done.run.counts["recheck.retracted"], done.left) == (1, 1)
