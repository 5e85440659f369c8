"""What is forgotten is found nowhere afterwards, all else stays as it was, and no night brings it back."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import NullPool, create_engine, select, text

from db.base import Base
from db.current_answers import count_differences
from db.embedded.server import EmbeddedServer
from db.engine import session_scope
from flows.cli.main import wordwave
from flows.pipeline.clips.tombstones import KEY_FILE, WrongForgetKey
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.files.lake import keep_lake
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.maintenance.count_words import count_words
from flows.pipeline.maintenance.forgetting import forget as stage
from flows.pipeline.maintenance.forgetting.check import NotForgotten, places_naming
from flows.pipeline.maintenance.forgetting.files import PAGE_LEFT
from flows.pipeline.maintenance.forgetting.forget import (
    ForgetRequest,
    Forgetting,
    NothingToForget,
    forget,
    request_of,
)
from flows.pipeline.maintenance.forgetting.libraries import InUse
from flows.pipeline.maintenance.forgetting.names import Names
from flows.pipeline.maintenance.forgetting.retention import forget_old
from flows.pipeline.nights.bounds import set_bounds
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.reviews.choosing import queue_library
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.hashed_copy import sha256_of
from flows.pipeline.storage.uris import file_uri
from tests.fixtures_postgres import Database, migrated_database
from tests.fixtures_s3 import S3Bucket
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip
from tests.flows.pipeline.generating import generating, speak
from tests.flows.pipeline.labeling.test_label import write_llama

HOSTILE = "it's <b>\"%s\" | 'né\n.wav"
"""The name of a second object with the same bytes."""
Rows = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llm"))


@dataclass(frozen=True)
class Made:
    """A world that was made once: a database to copy, and a folder with clips, results and their copy."""

    database: Database
    root: Path

    @property
    def settings(self) -> Settings:
        return Settings(home=self.root / "home", read_roots=(str(self.root),), batch_size=4)


@pytest.fixture(scope="module")
def made(
    postgres: EmbeddedServer, migrated_template: str, llm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    """Libraries of labels and of speech that show a tone, which is also two clips, labeled and exported."""
    with migrated_database(postgres, migrated_template) as database:
        made = Made(database, tmp_path_factory.mktemp("made"))
        library, folder = made.root / "library", made.root / "clips"
        _write_clips(library, folder)
        settings = made.settings.model_copy(update={"database_url": SecretStr(database.url("writer"))})
        with generating(settings, llm) as runtime:
            import_manifest(runtime, "sounds", str(library / "sounds.jsonl"), "label")
            import_manifest(runtime, "spoken", str(library / "spoken.jsonl"), "speech")
            night(runtime, folder)
            speak(runtime, "tone 0")
            queue_library(runtime, "sounds", 10)
            count_words(runtime)
        shutil.copytree(made.root / "home", made.root / "kept")
        yield made


@pytest.fixture
def database(made: Made) -> Iterator[Database]:
    with migrated_database(made.database.server, made.database.name) as database:
        yield database


@pytest.fixture
def folder(made: Made) -> Path:
    return made.root / "clips"


@pytest.fixture
def world(made: Made, database: Database, llm: Path) -> Iterator[Runtime]:
    """The world as it was made."""
    shutil.rmtree(made.root / "home")
    shutil.copytree(made.root / "kept", made.root / "home")
    settings = made.settings.model_copy(update={"database_url": SecretStr(database.url("writer"))})
    with generating(settings, llm) as runtime:
        yield runtime


def _write_clips(library: Path, folder: Path) -> None:
    lines = []
    for label, takes in {"tone": (440, 660, 880), "hiss": (1, 2)}.items():
        for number, pitch in enumerate(takes):
            samples = tone(pitch, 0.72) if label == "tone" else hiss(0.72, seed=number)
            write_clip(library / f"{label}-{number}.wav", samples)
            lines.append({"path": f"{label}-{number}.wav", "label": label, "text": f"{label} {number}"})
    _write(library / "sounds.jsonl", [{"path": one["path"], "label": one["label"]} for one in lines])
    _write(library / "spoken.jsonl", [{"path": one["path"], "text": one["text"]} for one in lines[:4]])
    write_clip(folder / "b.wav", tone(500, seed=9))
    write_clip(folder / "c.wav", hiss(seed=9))
    for name in ("a.wav", HOSTILE):
        shutil.copy(library / "tone-0.wav", folder / name)
    (folder / "a.wave").write_bytes(b"junk")


def _write(path: Path, lines: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def night(runtime: Runtime, folder: Path, **request: Any) -> Night:
    wanted = replace(LabelRequest("sounds", k_shot=1), **request)
    return run_night(
        runtime, partition_of(str(folder)), wanted, with_bar, kind="nightly-labeling", export=True
    )


def everything(runtime: Runtime, database: Database) -> Rows:
    """All rows of all tables by primary key."""
    engine = create_engine(database.url("writer"), poolclass=NullPool)
    found: Rows = {}
    with engine.connect() as connection:
        for name, table in Base.metadata.tables.items():
            found[name] = {
                repr([row[column.name] for column in table.primary_key]): dict(row)
                for row in connection.execute(select(table)).mappings()
            }
    return found


def objects(runtime: Runtime) -> dict[str, bytes]:
    root = Path(runtime.settings.storage_uri)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def forgotten_names(runtime: Runtime, folder: Path) -> Names:
    digest = sha256_of(folder / "a.wav")
    uris = {file_uri(folder / name) for name in ("a.wav", HOSTILE)}
    library = folder.parent / "library" / "tone-0.wav"
    return Names(frozenset({digest}), frozenset(uris | {file_uri(library)}))


def traces(runtime: Runtime, folder: Path) -> list[bytes]:
    """What the database kept of the content besides its names: codes, latents, embeddings."""
    digest = sha256_of(folder / "a.wav")
    latents = rows(
        runtime.engine, "SELECT mean, deviation FROM pooled_latents WHERE content_sha256 = :d", d=digest
    )
    sound = rows(runtime.engine, "SELECT sha256 FROM generated_audio")
    assert latents
    assert sound
    return [bytes(one) for row in (*latents, *sound) for one in row]


def forget_a(runtime: Runtime, folder: Path) -> Forgetting:
    return forget(runtime, request_of(runtime, [str(folder / "a.wav")]), in_use=True)


def test_nothing_of_it_is_found_afterwards(world: Runtime, folder: Path) -> None:
    names, kept = forgotten_names(world, folder), traces(world, folder)
    before = list(places_naming(world, names))
    assert {"table public.clips", "table public.contents", "table public.demonstrations"} <= set(before)
    assert sum(place.startswith("object") for place in before) >= 4
    done = forget_a(world, folder)
    assert done.names.contents >= names.contents
    assert done.names.uris >= names.uris
    assert list(places_naming(world, done.names)) == []
    assert list(places_naming(world, Names(frozenset(kept), frozenset()))) == []
    with session_scope(world.engine) as session:
        assert count_differences(session) == 0
    assert (folder / "a.wav").exists()
    assert (folder / HOSTILE).exists()


def test_everything_else_is_unchanged(world: Runtime, folder: Path, database: Database) -> None:
    rows_before, objects_before = everything(world, database), objects(world)
    done = forget_a(world, folder)
    rows_after, objects_after = everything(world, database), objects(world)
    gone, changed, new = _difference(rows_before, rows_after)
    kept_by_triggers = {"current_answers", "past_answers", "near_copy_keys", "near_copies"}
    assert {
        table: len(keys) for table, keys in gone.items() if table not in {*kept_by_triggers, "exports"}
    } == {
        table: number
        for table, number in done.rows.items()
        if number and table not in {*kept_by_triggers, "runs"}
    }
    assert len(gone["exports"]) == len(new["exports"]) == 2  # by other keys
    for table in ("predictions", "token_sequences", "embeddings", "review_queue", "pooled_latents"):
        digest = sha256_of(folder / "a.wav")
        assert all(rows_before[table][key]["content_sha256"] == digest for key in gone.get(table, ())), table
    assert set(changed) <= {"demonstration_sets", "code_counts", "exports"}
    assert set(new) - {"days_to_count"} == {
        "demonstration_sets",
        "demonstrations",
        "library_uses",
        "runs",
        "tombstones",
        "exports",
    }
    left = {name for name in objects_before if name not in objects_after}
    came = {name for name in objects_after if name not in objects_before}
    assert all(name.startswith(("generated/", "runs/")) for name in left)
    assert all("/labels-" in name for name in came)
    other = {
        name for name in objects_before if objects_after.get(name, b"") not in (objects_before[name], b"")
    }
    assert all(name.endswith(("manifest.json", "generated.html", ".parquet")) for name in other)


def _difference(before: Rows, after: Rows) -> tuple[dict[str, set[str]], ...]:
    gone = {table: set(before[table]) - set(after[table]) for table in before}
    changed = {
        table: {
            key for key in set(before[table]) & set(after[table]) if before[table][key] != after[table][key]
        }
        for table in before
    }
    new = {table: set(after[table]) - set(before[table]) for table in before}
    return tuple({table: keys for table, keys in part.items() if keys} for part in (gone, changed, new))


def test_exports_and_the_lake_lose_its_rows_and_manifests_stay_true(world: Runtime, folder: Path) -> None:
    forget_a(world, folder)
    root = Path(world.settings.storage_uri)
    [manifest] = root.rglob("manifest.json")
    told = json.loads(manifest.read_text())
    assert told["num_rows"] == 2
    assert {file["name"] for file in told["files"]} | {"manifest.json", "events"} >= {
        path.name for path in manifest.parent.iterdir()
    }
    for file in told["files"]:
        path = manifest.parent / file["name"]
        assert (file["sha256"], file["size"]) == (sha256_of(path).hex(), path.stat().st_size)
        [digests] = rows(
            world.engine, "SELECT sha256s FROM exports WHERE uri LIKE '%manifest.json' AND num_rows = 2"
        )[0]
        assert digests[file["name"]] == file["sha256"]
        assert digests["manifest.json"] == sha256_of(manifest).hex()
    [page] = root.rglob("generated.html")
    assert page.read_bytes() == PAGE_LEFT
    [(of_page,)] = rows(world.engine, "SELECT sha256s FROM exports WHERE uri LIKE '%generated.html'")
    assert of_page["generated.html"] == sha256_of(page).hex()
    assert list((root / "generated").iterdir()) == []
    exported = [*manifest.parent.glob("*.parquet"), *root.glob("labels/*/*/*.parquet")]
    for path in exported:
        uris = [row["uri"].rpartition("/")[2] for row in pq.ParquetFile(path).read().to_pylist()]
        assert uris[-2:] == ["b.wav", "c.wav"], path


def test_a_library_in_use_goes_on_without_it_and_old_versions_are_purged(
    world: Runtime, folder: Path
) -> None:
    done = forget_a(world, folder)
    assert [(one.old, one.new) for one in done.replacements] == [
        ("sounds@1", "sounds@2"),
        ("spoken@1", "spoken@2"),
    ]
    shown = rows(
        world.engine,
        "SELECT s.name, s.version, count(d.*) FROM demonstration_sets s LEFT JOIN demonstrations d "
        "ON d.demonstration_set_id = s.id GROUP BY 1, 2 ORDER BY 1, 2",
    )
    assert shown == [("sounds", 1, 4), ("sounds", 2, 4), ("spoken", 1, 3), ("spoken", 2, 3)]
    assert night(world, folder).labeling.setup.library.version == 2


def test_the_next_night_does_not_bring_it_back(
    world: Runtime, folder: Path, request: pytest.FixtureRequest
) -> None:
    names = forgotten_names(world, folder)
    forget_a(world, folder)
    for name, source in {"d.wav": "clips/b.wav", "a-copy.wav": "library/tone-0.wav"}.items():
        request.addfinalizer((folder / name).unlink)
        shutil.copy(folder.parent / source, folder / name)
    counts = night(world, folder).run.counts
    assert (counts["ingest.new"], counts["ingest.forgotten"]) == (2, 2)
    assert (counts["tokenize.same_bytes"], counts["tokenize.forgotten"]) == (1, 1)
    assert counts["tokenize.quarantined"] == 0
    copies = names.uris | {file_uri(folder / "a-copy.wav")}
    assert list(places_naming(world, Names(names.contents, frozenset(copies)))) == []
    again = night(world, folder).run.counts
    assert (again["ingest.new"], again["ingest.forgotten"], again["tokenize.forgotten"]) == (0, 3, 0)
    with pytest.raises(ManifestError, match="1 clips of the manifest were forgotten"):
        import_manifest(world, "sounds", str(folder.parent / "library" / "sounds.jsonl"), "label")


def test_twice_is_the_same_as_once(world: Runtime, folder: Path, database: Database) -> None:
    digest = sha256_of(folder / "a.wav").hex()
    forget_a(world, folder)
    rows_once, objects_once = everything(world, database), objects(world)
    for name in (str(folder / "a.wav"), file_uri(folder / HOSTILE), digest):
        again = forget(world, request_of(world, [name]))
        assert sum(again.rows.values()) == 0
        assert again.objects == {}
    rows_twice = everything(world, database)
    assert rows_twice | {"runs": {}} == rows_once | {"runs": {}}
    assert objects(world) == objects_once


@pytest.mark.parametrize("step", ["forget_objects", "_delete", "rewrite_export", "delete"])
def test_killed_half_way_and_run_again_completes(
    world: Runtime, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Ends the process, as far as the code can tell."""

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    places = {
        "rewrite_export": "flows.pipeline.maintenance.forgetting.objects.rewrite_export",
        "delete": "flows.pipeline.storage.local.LocalStorage.delete",
    }
    names = forgotten_names(world, folder)
    with monkeypatch.context() as patch:
        patch.setattr(places.get(step, f"{stage.__name__}.{step}"), die)
        with pytest.raises(Killed):
            forget_a(world, folder)
    assert list(places_naming(world, names))
    forget_a(world, folder)
    assert list(places_naming(world, names)) == []
    kept = rows(
        world.engine, "SELECT kind, count(*), count(completed_at) FROM tombstones GROUP BY 1 ORDER BY 1"
    )
    assert kept == [("content", 1, 1), ("uri", 3, 3), ("version", 3, 3)]


def test_what_is_in_use_is_refused_and_a_dry_run_keeps_nothing(
    world: Runtime, folder: Path, database: Database
) -> None:
    wanted = request_of(world, [str(folder / "a.wav")])
    rows_before, objects_before = everything(world, database), objects(world)
    with pytest.raises(InUse, match="sounds@1, spoken@1 would be forgotten"):
        forget(world, wanted)
    shown = forget(world, wanted, dry_run=True)
    assert shown.rows["predictions"] == 1
    assert shown.rows["clips"] == 3
    assert shown.objects["files"] >= 3
    assert everything(world, database) == rows_before
    assert objects(world) == objects_before
    assert not (world.settings.home / KEY_FILE).exists()
    other = request_of(world, [str(folder / "b.wav")])
    with recorded_run(world, "nightly-labeling", "elsewhere", {}) as run:
        with pytest.raises(InUse, match=f"runs are going on.*{run.id}"):
            forget(world, other)
        assert forget(world, other, in_use=True).rows["clips"] == 1


def test_the_last_demonstrations_of_a_library_are_not_forgotten(world: Runtime, folder: Path) -> None:
    library = folder.parent / "library"
    wanted = request_of(world, [str(library / f"hiss-{number}.wav") for number in range(2)])
    with pytest.raises(InUse, match="sounds@1 is no library without"):
        forget(world, wanted, in_use=True)


def test_a_name_that_nobody_listed_is_refused(world: Runtime, folder: Path) -> None:
    with pytest.raises(NothingToForget, match="no listing had"):
        request_of(world, [str(folder / "a.wav"), "s3://bucket/'; DROP TABLE clips; --"])


def test_another_key_stops_listings_instead_of_bringing_it_back(world: Runtime, folder: Path) -> None:
    forget_a(world, folder)
    (world.settings.home / KEY_FILE).write_text("another key of an installation\n")
    with pytest.raises(WrongForgetKey, match="WORDWAVE_FORGET_KEY"):
        night(world, folder)


def test_the_tombstones_alone_tell_nobody_what_was_forgotten(world: Runtime, folder: Path) -> None:
    forget_a(world, folder)
    kept = rows(world.engine, "SELECT * FROM tombstones")
    key = (world.settings.home / KEY_FILE).read_text().strip()
    digest = sha256_of(folder / "a.wav")
    text = repr(kept)
    assert key not in text
    assert digest.hex() not in text
    assert "a.wav" not in text
    counts = rows(world.engine, "SELECT counts, forgotten_by FROM tombstones WHERE kind = 'content'")
    assert counts[0][0]["clips"] == 3
    assert counts[0][0]["predictions"] == 1


def test_a_night_forgets_what_no_listing_had_for_long(
    world: Runtime, folder: Path, database: Database
) -> None:
    def set_back(statement: str) -> None:
        owner = create_engine(database.url("owner"), poolclass=NullPool)
        with owner.begin() as connection:
            connection.exec_driver_sql(statement)

    def names() -> list[str]:
        found = rows(world.engine, "SELECT uri FROM clips WHERE uri LIKE '%/clips/%' ORDER BY uri")
        return [uri.rpartition("/")[2] for (uri,) in found]

    partition = partition_of(str(folder))
    assert forget_old(world, partition, _nothing) is None
    set_bounds(world, str(folder), {"keep_days": 30})
    set_back(
        "UPDATE clips SET first_seen = now() - interval '40 days';"
        "UPDATE clips SET missing_since = now() - interval '29 days' WHERE uri LIKE '%%/c.wav'"
    )
    assert forget_old(world, partition, _nothing) is None  # the last night listed them
    set_back("UPDATE runs SET started_at = now() - interval '31 days'")
    done = forget_old(world, partition, _nothing)
    assert done is not None
    assert done.rows["contents"] == 1
    assert "b.wav" not in names()
    assert {"a.wav", "c.wav"} <= set(names())  # a library in use shows the first
    assert forget_old(world, partition, _nothing) is None


def test_a_night_keeps_what_audio_in_use_was_made_of(
    world: Runtime, folder: Path, database: Database
) -> None:
    of_b, shown = sha256_of(folder / "b.wav"), sha256_of(folder / "a.wav")
    owner = create_engine(database.url("owner"), poolclass=NullPool)
    with owner.begin() as connection:
        connection.exec_driver_sql("UPDATE clips SET first_seen = now() - interval '40 days'")
        connection.exec_driver_sql("UPDATE runs SET started_at = now() - interval '31 days'")
        made = text("UPDATE generated_audio SET text = NULL, content_sha256 = :source, sha256 = :audio")
        connection.execute(made, {"source": of_b, "audio": shown})
    set_bounds(world, str(folder), {"keep_days": 30})
    done = forget_old(world, partition_of(str(folder)), _nothing)
    assert done is not None
    assert of_b not in done.names.contents
    assert sha256_of(folder / "c.wav") in done.names.contents


def test_a_lake_file_that_was_written_meanwhile_loses_it_too(world: Runtime, folder: Path) -> None:
    wanted = request_of(world, [str(folder / "a.wav")])

    def write_lake(names: Names, dry_run: bool) -> Counts:
        [(run, day)] = rows(
            world.engine,
            "SELECT r.id, c.day FROM runs r, clips c "
            "WHERE r.kind = 'nightly-labeling' AND c.uri LIKE '%/a.wav'",
        )
        return keep_lake(world, run, "sounds", day)

    done = forget(world, wanted, in_use=True, hide_in_prefect=write_lake)
    assert list(places_naming(world, done.names)) == []


def _nothing(names: Names, dry_run: bool) -> Counts:
    return Counts()


def test_an_unread_clip_is_forgotten_by_its_uri(world: Runtime, folder: Path) -> None:
    uri = file_uri(folder / "a.wave")
    done = forget(world, request_of(world, [uri]))
    assert (done.rows["clips"], done.rows["quarantine"]) == (1, 1)
    assert list(places_naming(world, Names(frozenset(), frozenset({uri})))) == []
    assert request_of(world, [uri]) == ForgetRequest(frozenset(), frozenset(), frozenset({uri}))


def test_the_command_forgets_checks_and_prints_counts(
    world: Runtime, folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORDWAVE_HOME", str(world.settings.home))
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", database.url("writer"))
    digest = sha256_of(folder / "a.wav").hex()
    listed = tmp_path / "clips.txt"
    listed.write_text(f"{file_uri(folder / HOSTILE)}\n\n{digest}\n")
    command = ["forget", "--from-file", str(listed)]
    refused = CliRunner().invoke(wordwave, command)
    assert "is in use" in str(refused.exception)
    shown = CliRunner().invoke(wordwave, [*command, "--dry-run"])
    assert "3 rows of clips would be deleted" in shown.output
    assert "sounds@2 would take the place of sounds@1" in shown.output
    with pytest.raises(NotForgotten, match=r"table public\.clips"):
        CliRunner().invoke(wordwave, ["forget", "--check", digest], catch_exceptions=False)
    done = CliRunner().invoke(wordwave, [*command, "--in-use"])
    assert json.loads(done.stdout)["clips"] == 3
    assert "nothing of it is in any table or object of the results" in done.stderr
    assert "out of reach: former versions of objects" in done.stderr
    assert "a.wav" not in done.output
    checked = CliRunner().invoke(wordwave, ["forget", "--check", digest, str(folder / "a.wav")])
    assert checked.exit_code == 0
    assert CliRunner().invoke(wordwave, ["forget", "--check", f" {digest} "]).exit_code == 0
    for part in (digest[:12], digest[1:], f"{digest[:30]} {digest[30:]}"):
        with pytest.raises(NothingToForget, match="neither a SHA-256 digest, which has 64 hex digits, nor"):
            CliRunner().invoke(wordwave, ["forget", "--check", part], catch_exceptions=False)
    assert CliRunner().invoke(wordwave, ["forget", "--check", "--dry-run", digest]).exit_code == 2
    assert CliRunner().invoke(wordwave, ["forget"]).exit_code == 2


def test_results_in_a_bucket_are_rewritten_alike(
    runtime: Runtime, s3: S3Bucket, database_url: str, made: Made, tmp_path: Path
) -> None:
    settings = runtime.settings.model_copy(
        update={"storage_uri": f"{s3.uri}/results", "read_roots": (str(made.root), s3.uri)}
    )
    key = 'calls/2026-11-21/it\'s "a" & b.wav'
    uri = s3.put(key, (made.root / "clips" / "a.wav").read_bytes())
    s3.put("calls/2026-11-21/b.wav", (made.root / "clips" / "b.wav").read_bytes())
    with generating(settings, None) as bucket:
        manifest = made.root / "library" / "sounds.jsonl"
        import_manifest(bucket, "sounds", str(manifest), "label")
        partition = partition_of(f"{s3.uri}/calls/{{day}}", day="2026-11-21")
        request = LabelRequest("sounds", k_shot=1)
        run_night(bucket, partition, request, with_bar, kind="nightly-labeling", export=True)
        names = Names(frozenset({sha256_of(made.root / "clips" / "a.wav")}), frozenset({uri}))
        before = [place for place in places_naming(bucket, names) if place.startswith("object")]
        assert len(before) == 4, before  # an export of two kinds, and labels and tokens of the lake
        done = forget(bucket, request_of(bucket, [uri]), in_use=True)
        assert list(places_naming(bucket, done.names)) == []
        assert s3.get(key) == (made.root / "clips" / "a.wav").read_bytes()
