"""A night over 370 real clips in a bucket, a third of them odd, and the night after it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from db.embedded.server import EmbeddedServer
from flows.pipeline.labeling.report import ClipAnswer, ClipAnswers
from flows.pipeline.runs.run import OpenRun
from tests.e2e.clips import SHOTS, demonstrations, real_clips
from tests.e2e.conftest import NewBucket
from tests.e2e.s3_log import Request, recorded
from tests.e2e.tables import rows, tables
from tests.e2e.world import World, import_into, night, one, opened
from tests.fixtures_postgres import migrated_database

pytestmark = pytest.mark.data

DIGITS, SOUNDS, ODD = 127, 73, 170


@dataclass(frozen=True)
class FirstNight:
    """A finished night, what it was given and what it asked of the store."""

    world: World
    clips: dict[str, bytes]
    run: OpenRun
    answers: list[ClipAnswer]
    requests: list[Request]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query gives an analyst, or, outside of the schema analytics, the writer."""
        return rows(self.world.database.url("analyst" if "analytics." in query else "writer"), query)


@pytest.fixture(scope="module")
def first_night(
    test_data: Path,
    new_bucket: NewBucket,
    postgres: EmbeddedServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FirstNight]:
    """The world after its first night; no test here changes it."""
    with migrated_database(postgres, migrated_template) as database:
        home = tmp_path_factory.mktemp("home")
        world = World(new_bucket("clips"), new_bucket("results"), database, home)
        clips = {
            world.put(name, data): data for name, data in real_clips(test_data, DIGITS, SOUNDS, ODD).items()
        }
        manifest = world.put_library(*demonstrations(test_data))
        with opened(world.settings) as runtime:
            import_into(runtime, manifest)
            with recorded() as requests:
                done = night(runtime, world.place)
            answers = list(ClipAnswers(done.labeling, done.selection))
        yield FirstNight(world, clips, done.run, answers, requests)


def test_every_clip_is_answered_or_set_aside(first_night: FirstNight) -> None:
    assert [answer.uri for answer in first_night.answers] == sorted(first_night.clips)
    statuses = Counter(answer.status for answer in first_night.answers)
    counts = first_night.run.counts
    assert set(statuses) == {"labeled", "quarantined"}
    assert statuses["quarantined"] == counts["tokenize.quarantined"]
    assert statuses["labeled"] == counts["tokenize.tokenized"] + counts["tokenize.same_bytes"]
    assert all(answer.reason for answer in first_night.answers if answer.status == "quarantined")


def test_every_odd_file_ends_as_expected(first_night: FirstNight, request: pytest.FixtureRequest) -> None:
    path = request.config.rootpath / "tests/core/decoding/edge_expectations.json"
    expectations = json.loads(path.read_text("utf-8"))
    contents = first_night.rows("SELECT encode(sha256, 'hex') AS key, * FROM contents")
    facts = {row["key"]: row for row in contents}
    odd = [answer for answer in first_night.answers if "/edge/" in answer.uri]
    assert len(odd) == ODD
    for answer in odd:
        sha256 = hashlib.sha256(first_night.clips[answer.uri]).hexdigest()
        expected = expectations[sha256]
        assert answer.reason == expected.get("reason"), answer.uri
        assert (answer.status == "labeled") == ("decodes" in expected), answer.uri
        for name, value in expected.get("decodes", {}).items():
            assert facts[sha256][name] == value, answer.uri


def test_every_clip_is_read_once_and_nothing_but_the_export_is_written(first_night: FirstNight) -> None:
    requests = first_night.requests
    bucket = first_night.world.clips.bucket
    read = Counter(f"s3:/{request.path}" for request in requests if request.reads_object)
    assert read == Counter(first_night.clips.keys())
    written = [request.path.split("/", 2)[2] for request in requests if request.writes]
    of_run = [path.rpartition("/")[2] for path in written if path.startswith("runs/")]
    assert [name.partition("-")[0] for name in of_run] == ["labels", "labels", "manifest.json"]
    lake = {path.rpartition("/")[2] for path in written if not path.startswith("runs/")}
    assert lake == {"labels.parquet", "tokens.parquet"}
    assert not [request for request in requests if request.writes and f"/{bucket}/" in request.path]


def test_the_manifest_names_every_object_of_the_run(first_night: FirstNight) -> None:
    folder = f"runs/{first_night.run.id}"
    objects = first_night.world.objects()
    assert first_night.run.manifest == f"{first_night.world.results.uri}/{folder}/manifest.json"
    manifest = json.loads(objects.pop(f"{folder}/manifest.json"))
    assert manifest["run"] == str(first_night.run.id)
    named = {f"{folder}/{file['name']}": (file["size"], file["sha256"]) for file in manifest["files"]}
    found = {key: (len(data), hashlib.sha256(data).hexdigest()) for key, data in objects.items()}
    assert named == {key: fact for key, fact in found.items() if key.startswith("runs/")}


def test_the_export_holds_what_analysts_read(first_night: FirstNight) -> None:
    place = first_night.world.place
    seen = first_night.rows(f"SELECT * FROM analytics.labels WHERE uri ^@ '{place}/' ORDER BY uri")
    for row in seen:
        row["content_sha256"] = row["content_sha256"].hex()
        row["run"] = str(row["run"])
        assert row.pop("missing_since") is None
        for name in ("is_promoted", "is_chosen"):  # which are about later nights too
            del row[name]
        for name in ("by_labeler", "distance", "day", "link", "prompt_hash", "answer"):
            del row[name]
    objects = first_night.world.objects()
    folder = f"runs/{first_night.run.id}"
    parquet = pq.read_table(BytesIO(one(objects, folder, "parquet"))).to_pylist()
    assert [row | {"probabilities": dict(row["probabilities"])} for row in parquet] == seen
    lines = [json.loads(line) for line in one(objects, folder, "jsonl").splitlines()]
    assert lines == [row | {"created_at": row["created_at"].isoformat()} for row in seen]
    labeled = [answer.uri for answer in first_night.answers if answer.status == "labeled"]
    assert [row["uri"] for row in seen] == labeled


def test_every_answer_explains_itself(first_night: FirstNight) -> None:
    chain = first_night.rows(
        """
        SELECT p.*, c.fingerprint AS codec, d.name || '@' || d.version AS library,
          p.provenance ->> 'prompt_hash' AS prompt_hash,
          r.code_version, r.parameters, r.kind, r.status AS run_status
        FROM predictions p
        JOIN runs r ON r.id = p.run_id
        JOIN codecs c ON c.id = p.codec_id
        JOIN demonstration_sets d ON d.id = p.demonstration_set_id
        JOIN token_sequences t ON t.content_sha256 = p.content_sha256 AND t.codec_id = p.codec_id
        """
    )
    assert len(chain) == first_night.run.counts["label.labeled"]
    for row in chain:
        assert (row["run_id"], row["kind"]) == (first_night.run.id, "nightly-labeling")
        assert (row["run_status"], row["library"]) == ("completed", "sounds@1")
        assert (row["llm_id"], row["labeler"], row["seed"]) == (None, "nearest-neighbour", 0)
        assert row["code_version"]
        assert row["work_key"] == work_key(row)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probabilities"][row["label"]] == max(row["probabilities"].values())


def work_key(row: dict[str, Any]) -> bytes:
    """The work key of an answer, from what the row and its run say alone."""
    elsewhere = {"prefix", "library", "min_margin", "nearest_shots", "labeler", "coverage", "events"}
    decoding = {n: v for n, v in row["parameters"].items() if n not in elsewhere}
    parts = [row["content_sha256"].hex(), row["codec"], row["labeler"], row["library"]]
    parts += [row["prompt_hash"], row["task"], json.dumps(decoding, sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).digest()


def test_demonstrations_are_flagged_among_the_answers(first_night: FirstNight) -> None:
    shown = first_night.rows("SELECT content_sha256 FROM demonstrations ORDER BY content_sha256")
    flagged = "SELECT content_sha256 FROM predictions WHERE is_demonstration ORDER BY content_sha256"
    assert first_night.rows(flagged) == shown
    assert len(shown) == 10 * SHOTS


def test_the_night_after_writes_nothing_but_its_own_run(first_night: FirstNight) -> None:
    world = first_night.world
    before, objects = tables(world.database.url("writer")), world.objects()
    with recorded() as requests, opened(world.settings) as runtime:
        run = night(runtime, world.place).run
        assert not runtime.codec.calls
    after = tables(world.database.url("writer"))
    new = [row for row in after.pop("runs") if row not in before["runs"]]
    before.pop("runs")
    assert after == before
    assert [(row["id"], row["status"]) for row in new] == [(run.id, "completed")]
    assert not [request for request in requests if request.reads_object or request.writes]
    assert world.objects() == objects
    assert run.manifest == first_night.run.manifest
    unchanged = {"ingest.known": len(first_night.clips), "export.unchanged_rows": 241}
    assert {name: count for name, count in run.counts.items() if count} == unchanged
