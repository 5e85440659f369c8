"""Ten nights of which some are done in part: what is missing is done, and nothing else is touched."""

from collections.abc import Iterator
from datetime import date

import pytest

from flows.pipeline.clips.ingest import ingest
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.nights.backfill import BackfillFailed, DayOutcome, backfill, raise_failures
from flows.pipeline.nights.jobs import run_night, tokenize_place, with_bar
from flows.pipeline.runs.partition import Partition, partition_of, partitions_of
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.s3_log import recorded
from tests.e2e.tables import rows, tables
from tests.e2e.test_changes import new_rows
from tests.e2e.world import REQUEST, CountingRuntime, World, import_into, opened, tone

KIND = "nightly-labeling"
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 10)
DONE, GROWN, TOKENIZED, CHANGED, UNTOUCHED = range(1, 6), 6, 7, 8, (9, 10)


def put(world: World, day: int, name: str, hertz: float) -> str:
    return world.clips.put(f"nights/2026-11-{day:02}/{name}", tone(hertz))


def prefix(world: World) -> str:
    return f"{world.clips.uri}/nights/{{day}}"


def ten_days(world: World) -> list[Partition]:
    return partitions_of(prefix(world), FIRST, LAST, "UTC")


def run_day(runtime: Runtime, day: Partition) -> None:
    run_night(runtime, day, REQUEST, with_bar, kind=KIND, export=True)


def filled(runtime: Runtime, world: World) -> list[DayOutcome]:
    days = ten_days(world)
    return backfill(Labelings(runtime, REQUEST), days, lambda day: run_day(runtime, day))


@pytest.fixture
def nights(world: World) -> Iterator[CountingRuntime]:
    """Five nights done, three in part, two not at all."""
    labels = {"low.wav": "low", "high.wav": "high"}
    manifest = world.put_library({"low.wav": tone(200), "high.wav": tone(3000)}, labels)
    for day in range(1, 11):
        put(world, day, "a.wav", 210 + day)
        put(world, day, "b.wav", 2800 + day)
    with opened(world.settings) as runtime:
        import_into(runtime, manifest)
        for day in (*DONE, GROWN, CHANGED):
            run_day(runtime, partition_of(prefix(world), f"2026-11-{day:02}"))
        tokenize_only(runtime, partition_of(prefix(world), f"2026-11-{TOKENIZED:02}"))
        put(world, GROWN, "c.wav", 3300)
        put(world, CHANGED, "a.wav", 3400)
        runtime.codec.calls.clear()
        yield runtime


def tokenize_only(runtime: Runtime, day: Partition) -> None:
    with recorded_run(runtime, "tokenize-clips", day.place, {}) as run:
        ingest(runtime, day.place)
        tokenize_place(runtime, day.place, day.place, run, with_bar)


def test_of_ten_nights_only_what_is_missing_is_touched(world: World, nights: CountingRuntime) -> None:
    before, objects = tables(world.database.url("writer")), world.objects()
    with recorded() as requests:
        outcomes = filled(nights, world)
    statuses = {outcome.partition.day.day: outcome.status for outcome in outcomes if outcome.partition.day}
    assert statuses == dict.fromkeys(DONE, "nothing missing") | dict.fromkeys(range(6, 11), "done")
    read = sorted(r.path.partition("/nights/2026-11-")[2] for r in requests if r.reads_object)
    assert read == ["06/c.wav", "08/a.wav", "09/a.wav", "09/b.wav", "10/a.wav", "10/b.wav"]
    after = tables(world.database.url("writer"))
    begun = [row for row in after["runs"] if row not in before["runs"]]
    assert sorted(row["day"].day for row in begun) == [6, 7, 8, 9, 10]
    assert {(row["kind"], row["status"]) for row in begun} == {(KIND, "completed")}
    paths = [request.path.split("/") for request in requests if request.writes]
    written = {path[3] for path in paths if path[2] == "runs"}
    assert written == {str(row["id"]) for row in begun}
    gone = [clip["id"] for clip in after["clips"] if clip["missing_since"]]
    for found in (before, after):
        found["clips"] = [clip for clip in found["clips"] if clip["id"] not in gone]
    added = {"clips": 6, "contents": 6, "token_sequences": 6, "pooled_latents": 6, "embeddings": 6}
    assert new_rows(before, after) == added | {"predictions": 8, "exports": 5}
    kept = {key: data for key, data in objects.items() if key.startswith("runs/")}
    assert kept.items() <= world.objects().items()
    days = {path[3] for path in paths if path[2] != "runs"}
    assert days == {f"day=2026-11-{day:02}" for day in range(6, 11)}


def test_a_second_backfill_touches_nothing(world: World, nights: CountingRuntime) -> None:
    filled(nights, world)
    before, objects = tables(world.database.url("writer")), world.objects()
    nights.codec.calls.clear()
    with recorded() as requests:
        outcomes = filled(nights, world)
    assert {outcome.status for outcome in outcomes} == {"nothing missing"}
    assert tables(world.database.url("writer")) == before
    assert world.objects() == objects
    assert not [request for request in requests if request.reads_object or request.writes]
    assert not nights.codec.calls


def test_a_day_that_fails_stops_no_other_and_is_named(world: World, nights: CountingRuntime) -> None:
    def unlucky(day: Partition) -> None:
        if day.day in (date(2026, 11, 6), date(2026, 11, 9)):
            raise OSError("the disk is full")
        run_day(nights, day)

    outcomes = backfill(Labelings(nights, REQUEST), ten_days(world), unlucky)
    done = {outcome.partition.day: outcome.status for outcome in outcomes}
    assert [day for day, status in done.items() if status == "failed"] == [
        date(2026, 11, 6),
        date(2026, 11, 9),
    ]
    assert done[date(2026, 11, 7)] == done[date(2026, 11, 10)] == "done"
    with pytest.raises(
        BackfillFailed, match=r"2 of 10 days failed.* 2026-11-06, 2026-11-09: the disk is full"
    ):
        raise_failures(outcomes)
    raise_failures(filled(nights, world))
    days = rows(
        world.database.url("writer"), f"SELECT count(DISTINCT day) AS n FROM runs WHERE kind = '{KIND}'"
    )
    assert days == [{"n": 10}]
