"""What a library is checked for, and that a manifest that was printed makes the same version again."""

import json
from pathlib import Path

from flows.pipeline.labeling.canary import CanaryRequest
from flows.pipeline.labeling.library_review import named_library
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.care import label_lines, size_line
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.libraries.manifest import manifest_rows
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.reviews.lint import lint
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, tone, write_clip, write_manifest


def found(runtime: Runtime) -> list[str]:
    return [line.partition(":")[0] for line in lint(runtime, named_library(runtime, "sounds"))]


def test_a_library_of_different_clips_has_nothing_to_look_at(runtime: Runtime, library: str) -> None:
    assert found(runtime) == []


def test_leaks_duplicates_wrong_and_uneven_labels_are_named(
    runtime: Runtime, tmp_path: Path, clips: Path
) -> None:
    tones = [tone(440 + 40 * number, seed=number) for number in range(8)]
    hisses = [hiss(seed=20), hiss(seed=21)]
    manifest = write_manifest(tmp_path / "library", {"tone": tones, "hiss": hisses})
    write_clip(tmp_path / "library" / "again.wav", tone(440, 0.6, seed=0) * 0.999)
    with manifest.open("a") as file:
        for path, label in (("again.wav", "tone"), ("tone-wrong.wav", "hiss")):
            file.write(json.dumps({"path": path, "label": label}) + "\n")
    write_clip(tmp_path / "library" / "tone-wrong.wav", tone(580, seed=30))
    import_manifest(runtime, "sounds", str(manifest), "label")
    canaries = write_manifest(tmp_path / "library" / "canaries", {"tone": [tone(440, seed=0) * 0.998]})
    with canaries.open("a") as file:
        file.write(json.dumps({"path": "../hiss-1.wav", "label": "hiss"}) + "\n")
    import_manifest(runtime, "canaries", str(canaries), "label")
    assert {"near duplicate", "looks mislabeled"} <= set(found(runtime))
    lines = list(lint(runtime, named_library(runtime, "sounds")))
    assert any("tone-wrong.wav is hiss, the others say tone" in line for line in lines)


def test_canaries_that_sound_like_a_demonstration_leak(
    runtime: Runtime, library: str, tmp_path: Path, clips: Path
) -> None:
    takes = {"tone": [tone(440, seed=1) * 0.999], "hiss": [hiss(seed=9)]}
    canaries = write_manifest(tmp_path / "library" / "canaries", takes)
    import_manifest(runtime, "canaries", str(canaries), "label")
    run_night(
        runtime,
        partition_of(str(clips)),
        LabelRequest("sounds"),
        with_bar,
        kind="nightly-labeling",
        export=False,
        canaries=CanaryRequest("canaries", 0.0),
    )
    assert found(runtime).count("leak") == 1


def test_uneven_and_unused_labels_and_long_prompts_are_named(runtime: Runtime, library: str) -> None:
    rows = named_library(runtime, library).demonstrations
    uneven = [*rows, *[row for row in rows if row.label == "tone"] * 3]
    assert [line.partition(":")[0] for line in label_lines(uneven, {"tone": 3})] == ["uneven", "unused"]
    assert list(label_lines(rows, {"tone": 3, "hiss": 1})) == []
    assert size_line(90, 100) is None
    assert "take up to 91 of the LLM's 100" in (size_line(91, 100) or "")


def test_a_printed_manifest_makes_the_same_version_again(
    runtime: Runtime, library: str, tmp_path: Path
) -> None:
    version = named_library(runtime, library)
    printed = tmp_path / "library" / "printed.jsonl"
    printed.write_text("\n".join(map(json.dumps, manifest_rows(version))))
    again, _ = import_manifest(runtime, library, str(printed), "label")
    assert again == version
