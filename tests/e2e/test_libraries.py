"""Libraries whose clips lie in several places, and those that outlive what they were made with."""

import json
import shutil
from pathlib import Path

import pytest

from core.errors import PromptError
from core.presets import preset_directory
from flows.pipeline.clips.ingest import ingest
from flows.pipeline.configuration.settings import Settings
from tests.e2e.world import World, calls, import_into, labels, night, opened, tone
from tests.flows.pipeline.labeling.test_label import write_llama

CLIPS = {"a.wav": tone(210), "b.wav": tone(2900)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local folder of demonstrations, which settings have to allow."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def reading(world: World, folder: Path) -> Settings:
    return world.settings.reading(str(folder))


def write_manifest(folder: Path, labels: dict[str, str]) -> str:
    rows = [json.dumps({"path": path, "label": label}, ensure_ascii=False) for path, label in labels.items()]
    (folder / "manifest.jsonl").write_text("\n".join(rows))
    return str(folder / "manifest.jsonl")


def test_a_manifest_may_name_clips_in_folders_and_in_buckets(world: World, folder: Path) -> None:
    (folder / "low.wav").write_bytes(tone(200))
    distant = world.clips.put("library/high.wav", tone(3000))
    with opened(reading(world, folder)) as runtime:
        assert import_into(runtime, write_manifest(folder, {"low.wav": "low", distant: "high"})) == 1


def test_a_library_in_folders_and_buckets_outlives_its_codec(world: World, folder: Path) -> None:
    (folder / "low.wav").write_bytes(tone(200))
    distant = world.clips.put("library/high.wav", tone(3000))
    world.put("a.wav", tone(210))
    with opened(reading(world, folder)) as runtime:
        import_into(runtime, write_manifest(folder, {"low.wav": "low", distant: "high"}))
    with opened(reading(world, folder).model_copy(update={"codec": str(another_codec(folder))})) as runtime:
        assert labels(night(runtime, world.place)) == ["low"]


def another_codec(folder: Path) -> Path:
    """The mini codec with its words in another order: a fingerprint that nothing is stored for."""
    codec = shutil.copytree(preset_directory("mini-codec"), folder / "codec")
    words = (codec / "words.txt").read_text().splitlines()
    (codec / "words.txt").write_text("".join(f"{word}\n" for word in reversed(words)))
    return codec


def test_names_that_hold_what_some_take_for_the_end_of_a_line_are_names(world: World, folder: Path) -> None:
    odd = ["next\x85line.wav", "form\x0cfeed.wav", "\u2028separated.wav", " spaces .wav"]
    for number, name in enumerate(odd):
        (folder / name).write_bytes(tone(200 + number))
    with opened(reading(world, folder)) as runtime:
        made_up = {name: f"label {number % 2}" for number, name in enumerate(odd)}
        assert import_into(runtime, write_manifest(folder, made_up)) == 1


def test_a_demonstration_that_was_replaced_since_is_not_read_again(world: World, folder: Path) -> None:
    for name, hertz in (("low.wav", 200), ("high.wav", 3000)):
        (folder / name).write_bytes(tone(hertz))
    world.put("a.wav", tone(210))
    with opened(reading(world, folder)) as runtime:
        import_into(runtime, write_manifest(folder, {"low.wav": "low", "high.wav": "high"}))
        (folder / "low.wav").write_bytes(tone(3100))
        ingest(runtime, str(folder))
    with opened(world.settings) as runtime:  # which may not read the folder
        assert labels(night(runtime, world.place)) == ["low"]


def test_a_demonstration_that_no_codec_can_read_any_more_is_named(world: World, folder: Path) -> None:
    (folder / "low.wav").write_bytes(tone(200))
    (folder / "high.wav").write_bytes(tone(3000))
    with opened(reading(world, folder)) as runtime:
        import_into(runtime, write_manifest(folder, {"low.wav": "low", "high.wav": "high"}))
    (folder / "low.wav").unlink()
    settings = reading(world, folder).model_copy(update={"codec": str(another_codec(folder))})
    with (
        opened(settings) as runtime,
        pytest.raises(PromptError, match=r"1 demonstrations of sounds@1 .*/low\.wav; import"),
    ):
        night(runtime, world.place)


def test_a_second_night_asks_no_language_model(world: World, tmp_path: Path) -> None:
    manifest = world.put_library({"x.wav": tone(200), "y.wav": tone(3000)}, {"x.wav": "low", "y.wav": "high"})
    for name, data in CLIPS.items():
        world.put(name, data)
    settings = world.settings.model_copy(update={"llm": str(write_llama(tmp_path / "llm"))})
    with opened(settings) as runtime:
        import_into(runtime, manifest)
        night(runtime, world.place)
        assert calls(runtime.llm)["score_nodes"]
        calls(runtime.llm).clear()
        runtime.codec.calls.clear()
        night(runtime, world.place)
        assert not calls(runtime.llm)
        assert not runtime.codec.calls
