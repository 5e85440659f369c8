"""What forms, the API and the flows accept."""

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from db.library_names import split_library_name
from flows import forms as p
from flows.pipeline.configuration.options import request_fields
from flows.pipeline.generation.request import AudioOptions
from flows.pipeline.labeling.evaluation.request import EvaluationOptions
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.runs.days import render_day, resolve_day
from tests.flows.pipeline.configuration.test_credentials import CREDENTIALS

LABELING = {name: p.form_type(field) for name, field in request_fields(LabelRequest).items()}
EVALUATION = {name: p.form_type(field) for name, field in request_fields(EvaluationOptions).items()}
AUDIO = {name: p.form_type(field) for name, field in request_fields(AudioOptions).items()}
TYPES: dict[str, Any] = {
    "prefix": p.Prefix,
    "folder": p.Folder,
    "manifest": p.ManifestUri,
    "labeled_manifest": p.LabeledManifestUri,
    "library": p.LibraryName,
    "new_library": p.NewLibraryName,
    "task": p.Task,
    "k_shot": LABELING["k_shot"],
    "repeats": EVALUATION["repeats"],
    "layers": EVALUATION["layers"],
    "max_windows": EVALUATION["max_windows"],
    "min_margin": LABELING["min_margin"],
    "seed": AUDIO["seed"],
    "dry_run": p.DryRun,
    "approve": p.Approve,
    "day": p.Day,
    "shards": p.Shards,
    "shard": p.ShardNumber,
    "first_day": p.FirstDay,
    "canary_library": p.CanaryLibrary,
    "least_canary_accuracy": p.LeastCanaryAccuracy,
    "last_day": p.LastDay,
    "timezone": p.Timezone,
    "n_way": EVALUATION["n_way"],
    "shots": EVALUATION["k_shot"],
    "episodes": EVALUATION["episodes"],
    "table": EVALUATION["layout"],
    "paper": EVALUATION["paper"],
    "instruction": EVALUATION["instruction"],
    "library_instruction": p.LibraryInstruction,
    "texts_uri": p.TextsUri,
    "duration": p.Duration,
    "slice": p.SliceSeconds,
    "temperature": AUDIO["temperature"],
    "top_p": AUDIO["top_p"],
    "audio_format": AUDIO["format"],
    "window": EVALUATION["window"],
    "protocol": EVALUATION["protocol"],
    "episode_seed": EVALUATION["seed"],
}


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def form_accepts(kind: Any, value: object) -> bool:
    """What Prefect's API does with the form's schema before it stores a run."""
    from prefect.utilities.schema_tools.validation import is_valid

    return is_valid({"x": value}, {"type": "object", "properties": {"x": TypeAdapter(kind).json_schema()}})


PREFIXES = [
    "s3://bucket",
    "s3://bucket/calls/{day}/ü b'\"%#",
    "/data/audio",
    "file:///data/a%20b",
    "/a/{0F-E}",
]
NO_PREFIXES = [
    "",
    "calls",
    "s3://",
    "s3:///x",
    "s3://bucket/{date}",
    "http://host/x",
    "file://host/x",
    "/a\nb",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_folder_of_either_storage_is_a_prefix(prefix: str) -> None:
    assert accepts(p.Prefix, prefix)
    assert form_accepts(p.Prefix, prefix)


@pytest.mark.parametrize("prefix", [*NO_PREFIXES, *CREDENTIALS, "s3://b/" + "x" * 1024, "s3://bucket/\nAKIA"])
def test_anything_else_is_refused_by_the_form_already(prefix: str) -> None:
    assert not accepts(p.Prefix, prefix)
    assert not form_accepts(p.Prefix, prefix)


@given(st.sampled_from(CREDENTIALS), st.text(max_size=5), st.text(max_size=5))
def test_no_surroundings_hide_a_credential(credential: str, before: str, after: str) -> None:
    prefix = f"s3://bucket/{before}{credential}{after}"
    assert not accepts(p.Prefix, prefix)
    assert not form_accepts(p.Prefix, prefix)


@pytest.mark.parametrize("name", ["calls", "calls@3", "a.b-c_d@12", "A", "calls/a dog/é", "calls/b@2"])
def test_a_library_is_named_with_or_without_a_version(name: str) -> None:
    assert accepts(p.LibraryName, name)
    assert form_accepts(p.LibraryName, name)
    assert accepts(p.NewLibraryName, name) == (not {"@", "/"} & set(name))


@pytest.mark.parametrize(
    "name", ["", "@3", "calls@", "calls@0", "calls@-1", "calls@x", "a b", "-a", "a/", "a/b@c", "/b", "a@1@2"]
)
def test_other_library_names_are_refused(name: str) -> None:
    assert not accepts(p.LibraryName, name)


def test_a_library_name_falls_into_name_and_version() -> None:
    assert split_library_name("calls@12") == ("calls", 12)
    assert split_library_name("calls") == ("calls", None)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (p.Task, ["label", "speech", "sound", "denoise"], ["translate", ""]),
        (p.LibraryInstruction, ["", "Say it.", "é" * 500], ["a" * 501, "### Input", "one\ntwo"]),
        (
            p.Texts,
            [[], ["one", " 1+1 "], ["é" * 200]],
            [[""], [" "], ["a" * 201], ["a\nb"], ["a ### b"], ["a"] * 201],
        ),
        (
            p.TextsUri,
            ["", "s3://bucket/a.txt", "/a.csv"],
            ["a.txt", "http://host/a", "s3://key:word@bucket/a"],
        ),
        (p.Duration, [0.24, 30], [0, -1, 31]),
        (p.SliceSeconds, [0, 0.48, 30], [-0.1, 31]),
        (AUDIO["temperature"], [0, 1.5], [-0.1, 11]),
        (AUDIO["top_p"], [0.1, 1], [0, 1.1]),
        (AUDIO["format"], ["wav", "flac"], ["mp3", ""]),
        (LABELING["k_shot"], [0, 64], [-1, 65]),
        (EVALUATION["repeats"], [0, 16], [-1, 17]),
        (EVALUATION["layers"], ["semantic", "semantic+acoustic"], ["acoustic"]),
        (EVALUATION["max_windows"], [1, 100], [0, 101]),
        (LABELING["min_margin"], [0, 0.5, 1], [-0.1, 1.1]),
        (AUDIO["seed"], [0, 2**31 - 1], [-1, 2**31]),
        (EVALUATION["n_way"], [2, 64], [1, 65]),
        (EVALUATION["k_shot"], [1, 64], [0, 65]),
        (EVALUATION["episodes"], [1, 100_000], [0, 100_001]),
        (EVALUATION["layout"], ["single", "prompts", "ways"], ["table 2", ""]),
        (EVALUATION["paper"], ["none", "sound-events"], ["sound events"]),
        (EVALUATION["window"], [0, 512], [-1, 513]),
        (EVALUATION["protocol"], ["service", "paper"], ["both"]),
        (EVALUATION["seed"], [0, 2**31 - 1], [-1, 2**31]),
        (p.CanaryLibrary, ["", "calls", "calls@3"], ["@3", "a b", "calls@0"]),
        (p.LeastCanaryAccuracy, [0, 0.8, 1], [-0.1, 1.1]),
        (p.FirstDay, ["2026-11-22"], ["today", "any", "22.11.2026", ""]),
        (p.LastDay, ["2026-11-22"], ["today", "any", "22.11.2026", ""]),
        (
            p.Day,
            ["any", "today", "yesterday", "yesterday@23:30", "today@00:00", "2026-11-22"],
            ["tomorrow", "2026-1-1", "22.11.2026", "", "yesterday@", "yesterday@24:00", "any@02:00"],
        ),
    ],
)
def test_the_form_and_the_flow_keep_the_same_bounds(kind: Any, good: list[Any], bad: list[Any]) -> None:
    assert all(accepts(kind, value) and form_accepts(kind, value) for value in good)
    assert not any(accepts(kind, value) or form_accepts(kind, value) for value in bad)


def test_a_day_that_no_calendar_has_and_a_zone_that_no_place_has_are_refused() -> None:
    assert not accepts(p.Day, "2026-02-30")
    assert accepts(p.Timezone, "Europe/Berlin")
    assert not accepts(p.Timezone, "Europe/Atlantis")
    assert not accepts(p.Timezone, "../../etc/passwd")
    assert not accepts(p.FirstDay, "2026-02-30")


def test_the_nearest_time_zone_is_suggested() -> None:
    with pytest.raises(ValidationError, match="did you mean Europe/Berlin"):
        TypeAdapter(p.Timezone).validate_python("Europe/Berln")


def test_the_day_is_that_of_the_time_zone_when_the_run_was_due() -> None:
    due = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    assert resolve_day("today", "UTC", due) == date(2026, 11, 21)
    assert resolve_day("today", "Europe/Berlin", due) == date(2026, 11, 22)
    assert resolve_day("yesterday", "America/Los_Angeles", due) == date(2026, 11, 20)
    assert resolve_day("2024-02-29", "UTC", due) == date(2024, 2, 29)


def test_each_day_of_a_prefix_is_filled_in_and_nothing_else_is_touched() -> None:
    due = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    rendered = render_day("s3://calls/{day}/x%7Bday%7D/{day}", "yesterday", "UTC", due)
    assert rendered == "s3://calls/2026-11-21/x%7Bday%7D/2026-11-21"
    assert render_day("s3://calls", "today", "UTC", due) == "s3://calls"


def test_every_form_field_has_a_title_help_and_one_plain_type() -> None:
    for name, kind in TYPES.items():
        schema = TypeAdapter(kind).json_schema()
        assert schema["title"], name
        assert schema["description"].endswith("."), name
        assert schema["type"] in {"string", "integer", "number", "boolean"}, name
        assert not schema.keys() & {"anyOf", "oneOf", "allOf", "$ref"}, name


def test_a_field_that_has_a_pattern_has_a_sentence_for_who_breaks_it() -> None:
    for name, kind in TYPES.items():
        schema = TypeAdapter(kind).json_schema()
        assert ("pattern" in schema) == ("refusal" in schema), name
        if "refusal" in schema:
            with pytest.raises(ValidationError, match=re.escape(schema["refusal"])):
                TypeAdapter(kind).validate_python("\n###")


@pytest.mark.parametrize("prefix", [*PREFIXES, *NO_PREFIXES, "/a/{day}", "/a/{Day}", "s3://bucket/{date}"])
def test_a_folder_is_a_prefix_in_which_nothing_is_filled_in(prefix: str) -> None:
    assert accepts(p.Folder, prefix) == (accepts(p.Prefix, prefix) and "{day}" not in prefix)
    assert form_accepts(p.Folder, prefix) == accepts(p.Folder, prefix)


def test_prefect_shows_the_titles_and_help_and_keeps_the_order() -> None:
    from prefect.utilities.callables import parameter_schema

    def a_flow(
        prefix: p.Prefix,
        library: p.LibraryName,
        day: p.Day = "yesterday",
        method: p.DenoiseMethod = "auto",
        dry_run: p.DryRun = False,
    ) -> None:
        """A flow."""

    fields = parameter_schema(a_flow).properties
    assert [field["title"] for field in fields.values()] == ["Prefix", "Library", "Day", "Method", "Dry run"]
    assert [field["position"] for field in fields.values()] == [0, 1, 2, 3, 4]
    assert all(field["description"] for field in fields.values())
    assert fields["prefix"]["pattern"]
    assert fields["method"]["enum"] == ["auto", "deepfilter", "in-context"]
