"""Before a version is put into use: how it differs, whether its prompt fits, what its canaries say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import PromptTooLong
from db.libraries import LibraryNotFound, LibraryVersion
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.canary import CanaryRequest
from flows.pipeline.labeling.library_review import (
    canary_line,
    difference_lines,
    named_library,
    put_into_use,
    review,
    review_lines,
)
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip, write_manifest
from tests.flows.pipeline.labeling.test_label import write_llama

KIND = "nightly-labeling"


@pytest.fixture
def first(runtime: Runtime, manifest: Path) -> LibraryVersion:
    return imported(runtime, manifest)


@pytest.fixture
def tight(settings: Settings, tmp_path: Path) -> Iterator[Runtime]:
    """A process whose LLM holds four demonstrations and not five."""
    llm = write_llama(tmp_path / "tight", context=180)
    runtime = Runtime(settings.model_copy(update={"llm": str(llm)}))
    yield runtime
    runtime.close()


def imported(
    runtime: Runtime, manifest: Path, name: str = "sounds", *, promote: bool = False
) -> LibraryVersion:
    return import_manifest(runtime, name, str(manifest), "label", promote=promote)[0]


def next_version(runtime: Runtime, manifest: Path, *lines: str, promote: bool = False) -> LibraryVersion:
    """Another version: its last clip is left out, and rows are added."""
    manifest.write_text("\n".join([*manifest.read_text().splitlines()[:-1], *lines]) + "\n")
    return imported(runtime, manifest, promote=promote)


def more_clips(folder: Path, count: int) -> list[str]:
    for number in range(count):
        write_clip(folder / f"more-{number}.wav", tone(700 + 10 * number, seed=60 + number))
    return [f'{{"path": "more-{number}.wav", "label": "beep"}}' for number in range(count)]


def night(runtime: Runtime, folder: Path, canaries: CanaryRequest | None = None, **request: Any) -> Night:
    asked = LabelRequest("sounds", **request)
    return run_night(
        runtime, partition_of(str(folder)), asked, with_bar, kind=KIND, export=False, canaries=canaries
    )


def test_a_new_version_does_not_change_the_night_until_it_is_put_into_use(
    runtime: Runtime, manifest: Path, folder: Path, first: LibraryVersion
) -> None:
    write_clip(folder / "a.wav", tone(520, seed=7))
    second = next_version(runtime, manifest, *more_clips(manifest.parent, 1))
    assert night(runtime, folder).labeling.setup.library == first
    assert review(runtime, second).use == (
        "sounds@1 stays in use: wordwave library use sounds@2 puts this version into use"
    )
    assert put_into_use(runtime, "sounds@2") == second
    assert night(runtime, folder).labeling.setup.library == second
    assert review(runtime, second).use.startswith("sounds@2 is in use")
    third = next_version(runtime, manifest, promote=True)
    assert night(runtime, folder).labeling.setup.library == third
    assert imported(runtime, manifest) == third


def test_only_a_version_that_is_there_is_put_into_use(runtime: Runtime, first: LibraryVersion) -> None:
    with pytest.raises(ValueError, match="name the version to put into use, sounds@VERSION"):
        put_into_use(runtime, "sounds")
    with pytest.raises(LibraryNotFound, match="no version 2"):
        put_into_use(runtime, "sounds@2")
    with pytest.raises(LibraryNotFound, match="did you mean sounds"):
        named_library(runtime, "soundz")


def test_a_version_is_compared_with_the_one_in_use(
    runtime: Runtime, manifest: Path, first: LibraryVersion
) -> None:
    lines = [*more_clips(manifest.parent, 2), '{"path": "hiss-1.wav", "label": "wind"}']
    second = next_version(runtime, manifest, *lines)
    uri = second.demonstrations[-1].uri
    expected = [
        "compared with sounds@1: 2 clips added, 0 removed, 1 with another answer, 3 the same",
        f"added: beep ({uri.replace('hiss-1', 'more-0')}), beep ({uri.replace('hiss-1', 'more-1')})",
        f"another answer: hiss to wind ({uri})",
        "new labels: beep, wind",
    ]
    reviewed = review(runtime, second)
    assert reviewed.difference == expected
    assert dict(reviewed.labels) == {"tone": 2, "hiss": 1, "beep": 2, "wind": 1}
    assert difference_lines(second, first)[-1] == "labels no longer known: beep, wind"
    put_into_use(runtime, "sounds@2")
    assert review(runtime, second).difference == expected
    assert "     2  beep" in list(review_lines(reviewed))


def test_another_order_is_a_difference(runtime: Runtime, manifest: Path, first: LibraryVersion) -> None:
    manifest.write_text("\n".join(manifest.read_text().splitlines()[::-1]))
    assert difference_lines(first, imported(runtime, manifest)) == [
        "compared with sounds@1: 0 clips added, 0 removed, 0 with another answer, 4 the same",
        "the common clips are in another order",
    ]


def test_whether_the_prompt_fits_is_computed(
    runtime: Runtime, tight: Runtime, manifest: Path, first: LibraryVersion
) -> None:
    assert review(runtime, first).fit == "it fits: no LLM is set, the nearest demonstration answers"
    assert review(tight, first).fit.startswith("it fits: prompts take at most ")
    second = next_version(tight, manifest, *more_clips(manifest.parent, 4))
    found = review(tight, second).fit
    assert found.startswith("it does not fit: the prompt needs ")
    assert "the context holds 180: library sounds@2 shows more than this LLM can read" in found


def test_it_is_judged_as_the_last_night_asked(tight: Runtime, manifest: Path, folder: Path) -> None:
    write_clip(folder / "a.wav", tone(520, seed=7))
    imported(tight, manifest)
    night(tight, folder, k_shot=1)
    second = next_version(tight, manifest, *more_clips(manifest.parent, 4))
    assert review(tight, second).fit.startswith("it fits")


def test_a_night_whose_prompt_does_not_fit_fails_before_it_lists(
    tight: Runtime, manifest: Path, folder: Path
) -> None:
    write_clip(folder / "a.wav", tone(520, seed=7))
    imported(tight, manifest)
    next_version(tight, manifest, *more_clips(manifest.parent, 4), promote=True)
    with pytest.raises(PromptTooLong, match="library sounds@2 shows more"):
        night(tight, folder)
    assert rows(tight.engine, "SELECT count(*)::int FROM clips WHERE uri LIKE '%/clips/%'") == [(0,)]


def test_the_canaries_of_the_last_night_are_asked(
    runtime: Runtime, manifest: Path, folder: Path, first: LibraryVersion
) -> None:
    write_clip(folder / "a.wav", tone(520, seed=7))
    assert canary_line(runtime, first) is None
    held_out = {"tone": [tone(500, seed=40)], "hiss": [hiss(seed=50)]}
    imported(runtime, write_manifest(folder.parent / "library" / "canaries", held_out), "canaries")
    night(runtime, folder, CanaryRequest("canaries", 0.5))
    second = next_version(runtime, manifest, *more_clips(manifest.parent, 1))
    line = canary_line(runtime, second)
    assert line == ("2 of 2 canaries of canaries@1 are answered right (100%), at least 50% are required")
    only_tones = manifest.read_text().replace('"hiss"', '"rain"')
    manifest.write_text(only_tones)
    line = canary_line(runtime, imported(runtime, manifest))
    assert line is not None
    assert line.startswith("canaries cannot be labeled: canaries of canaries@1 have labels that")
