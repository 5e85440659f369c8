"""What becomes new work when something changes, and what stays as it was."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from flows.pipeline.labeling.library_review import put_into_use
from flows.pipeline.labeling.report import ClipAnswers
from flows.pipeline.labeling.request import LabelRequest
from tests.e2e.s3_log import recorded
from tests.e2e.tables import Tables, rows, tables
from tests.e2e.world import LIBRARY, CountingRuntime, World, import_into, labels, night, one, opened, tone

LOW, HIGH = tone(200), tone(3000)
CLIPS = {"a.wav": tone(210), "b.wav": tone(2900), "c.wav": tone(190)}


@pytest.fixture
def labeled(world: World) -> Iterator[CountingRuntime]:
    """Three clips and a library of two demonstrations, after their first night."""
    for name, data in CLIPS.items():
        world.put(name, data)
    manifest = world.put_library({"low.wav": LOW, "high.wav": HIGH}, {"low.wav": "low", "high.wav": "high"})
    with opened(world.settings) as runtime:
        import_into(runtime, manifest)
        night(runtime, world.place)
        runtime.codec.calls.clear()
        yield runtime


def stored(world: World) -> Tables:
    return tables(world.database.url("writer"))


def new_rows(before: Tables, after: Tables) -> dict[str, int]:
    """How many rows were added to each table but `runs`; every row that was there is unchanged."""
    added = {}
    for name in before.keys() - {"runs"}:
        old, new = (Counter(map(repr, found[name])) for found in (before, after))
        assert not old - new, name
        added[name] = (new - old).total()
    return {name: count for name, count in added.items() if count}


def present(world: World, found: Tables) -> dict[str, bool]:
    """Whether each clip of the night is there, by name."""
    clips = [clip for clip in found["clips"] if clip["uri"].startswith(world.place)]
    return {clip["uri"].rpartition("/")[2]: clip["missing_since"] is None for clip in clips}


def nightly(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count and not name.startswith("ingest")}


def test_changed_bytes_under_a_key_are_new_work_and_the_old_rows_stay(
    world: World, labeled: CountingRuntime
) -> None:
    before = stored(world)
    world.put("a.wav", tone(3100))
    with recorded() as requests:
        done = night(labeled, world.place)
    assert [request.path for request in requests if request.reads_object] == [
        f"/{world.clips.bucket}/day/a.wav"
    ]
    assert nightly(done.run.counts) == {"tokenize.tokenized": 1, "label.labeled": 1, "export.rows": 3}
    after = stored(world)
    replaced = [clip for clip in after["clips"] if clip["uri"].endswith("a.wav") and clip["missing_since"]]
    assert [clip["content_sha256"] for clip in replaced] == [
        clip["content_sha256"] for clip in before["clips"] if clip["uri"].endswith("a.wav")
    ]
    before["clips"] = [clip for clip in before["clips"] if clip["id"] != replaced[0]["id"]]
    after["clips"] = [clip for clip in after["clips"] if clip["id"] != replaced[0]["id"]]
    of_content = ("contents", "token_sequences", "pooled_latents", "embeddings")
    assert new_rows(before, after) == dict.fromkeys(("clips", *of_content, "predictions", "exports"), 1)
    assert labels(done) == ["high", "high", "low"]


def test_a_deleted_clip_is_marked_missing_and_leaves_the_export(
    world: World, labeled: CountingRuntime
) -> None:
    before = stored(world)
    world.remove("b.wav")
    run = night(labeled, world.place).run
    after = stored(world)
    assert run.counts["ingest.gone"] == 1
    assert present(world, after) == {"a.wav": True, "b.wav": False, "c.wav": True}
    assert after["predictions"] == before["predictions"]
    assert not labeled.codec.calls
    assert exported(world, run.manifest) == ["a.wav", "c.wav"]


def exported(world: World, manifest: str | None) -> list[str]:
    """The clips of an export."""
    assert manifest
    folder = manifest.removeprefix(f"{world.results.uri}/").rpartition("/")[0]
    lines = one(world.objects(), folder, "jsonl").splitlines()
    return [json.loads(line)["uri"].rpartition("/")[2] for line in lines]


def test_a_clip_that_comes_back_needs_no_new_work(world: World, labeled: CountingRuntime) -> None:
    world.remove("b.wav")
    night(labeled, world.place)
    world.put("b.wav", CLIPS["b.wav"])
    before = stored(world)
    run = night(labeled, world.place).run
    assert not {"tokenize.tokenized", "label.labeled"} & nightly(run.counts).keys()
    assert stored(world)["predictions"] == before["predictions"]
    assert exported(world, run.manifest) == ["a.wav", "b.wav", "c.wav"]


def test_a_new_version_of_the_library_answers_anew_and_the_old_answers_stay(
    world: World, labeled: CountingRuntime
) -> None:
    before = stored(world)
    manifest = world.put_library({}, {"low.wav": "deep", "high.wav": "shrill"})
    assert import_into(labeled, manifest) == 2
    assert labels(night(labeled, world.place)) == ["low", "high", "low"]
    put_into_use(labeled, "sounds@2")
    done = night(labeled, world.place)
    added = {"demonstration_sets": 1, "demonstrations": 2, "library_uses": 1, "predictions": 3, "exports": 1}
    assert new_rows(before, stored(world)) == added | {"past_answers": 3}
    assert not labeled.codec.calls
    assert nightly(done.run.counts) == {"label.labeled": 3, "export.rows": 3}
    assert labels(done) == ["deep", "shrill", "deep"]


def test_the_same_bytes_under_two_keys_are_tokenized_and_answered_once(
    world: World, labeled: CountingRuntime
) -> None:
    world.put("d.wav", tone(1000))
    world.put("e.wav", tone(1000))
    world.put("f.wav", CLIPS["a.wav"])
    before = stored(world)
    run = night(labeled, world.place).run
    assert nightly(run.counts) == {
        "tokenize.tokenized": 1,
        "tokenize.same_bytes": 2,
        "label.labeled": 1,
        "export.rows": 6,
    }
    after = stored(world)
    assert len(after["contents"]) == len(before["contents"]) + 1
    assert len(after["token_sequences"]) == len(before["token_sequences"]) + 1


def test_another_way_of_asking_is_new_work(world: World, labeled: CountingRuntime) -> None:
    ways: list[dict[str, Any]] = [
        {"max_windows": 1},
        {"k_shot": 1},
        {"repeats": 1},
        {"layers": "semantic+acoustic"},
    ]
    for way in ways:
        before = stored(world)
        night(labeled, world.place, LabelRequest(LIBRARY, **way))
        assert new_rows(before, stored(world)) == {"predictions": 3, "past_answers": 3, "exports": 1}, way


def test_a_bound_on_the_margin_changes_no_answer_but_how_it_is_judged(
    world: World, labeled: CountingRuntime
) -> None:
    before = stored(world)
    done = night(labeled, world.place, LabelRequest(LIBRARY, min_margin=1.0))
    assert nightly(done.run.counts) == {"export.rows": 3}
    assert {clip.status for clip in ClipAnswers(done.labeling, done.selection)} == {"uncertain"}
    judged = rows(world.database.url("analyst"), "SELECT DISTINCT status FROM analytics.labels")
    assert judged == [{"status": "uncertain"}]
    after = stored(world)
    for row in (*before["predictions"], *after["predictions"]):
        del row["min_margin"]
    assert new_rows(before, after) == {"past_answers": 3, "exports": 1}


def test_an_import_of_equal_content_is_the_same_version(world: World, labeled: CountingRuntime) -> None:
    before = stored(world)
    with recorded() as requests:
        assert import_into(labeled, f"{world.clips.uri}/library/manifest.jsonl") == 1
    assert new_rows(before, stored(world)) == {}
    assert [request.path.rpartition("/")[2] for request in requests if request.reads_object] == [
        "manifest.jsonl"
    ]


def test_a_nights_export_holds_its_own_librarys_answers_whoever_answered_last(
    world: World, labeled: CountingRuntime
) -> None:
    manifest = world.put_library({}, {"low.wav": "deep", "high.wav": "shrill"})
    import_into(labeled, manifest, "others")
    night(labeled, world.place, LabelRequest("others"))
    run = night(labeled, world.place).run
    assert nightly(run.counts) == {"export.unchanged_rows": 3}
    assert exported(world, run.manifest) == ["a.wav", "b.wav", "c.wav"]
