"""A listing takes every clip of a place, and no audio that was generated unless it is asked for."""

from pathlib import Path

from flows.runtime import Runtime
from flows.settings import Settings
from flows.stages.ingest import ingest
from tests.flows.stages.conftest import tone, write_clip


def listed(settings: Settings, storage: Path, place: Path) -> int:
    runtime = Runtime(settings.model_copy(update={"storage_uri": str(storage)}))
    try:
        counts = ingest(runtime, str(place))
        return counts["new"] + counts["known"]
    finally:
        runtime.close()


def test_audio_that_was_generated_is_no_clip_of_the_place_that_holds_it(
    settings: Settings, folder: Path
) -> None:
    write_clip(folder / "one.wav", tone(300))
    write_clip(folder / "generated" / "abc.wav", tone(400))
    assert listed(settings, folder, folder) == 1
    assert listed(settings, folder.parent / "elsewhere", folder) == 2


def test_generated_audio_is_listed_where_it_is_asked_for(settings: Settings, folder: Path) -> None:
    write_clip(folder / "generated" / "abc.wav", tone(400))
    assert listed(settings, folder, folder / "generated") == 1
