"""From one codec to the next: both generations side by side, a switch, and the old tokens pruned."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from core.presets import preset_directory
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.maintenance.upgrade import Comparison, promote_models, prune, upgrade
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.tables import rows
from tests.e2e.world import LIBRARY, REQUEST, World, import_into, night, opened, tone

CODEBOOK = "quantizer.quantizers.0.table"
CLIPS = {"a.wav": tone(210), "b.wav": tone(2900)}


@pytest.fixture
def next_codec(tmp_path: Path) -> Path:
    """The shipped codec with a codebook turned round: other codes, and another fingerprint."""
    folder = shutil.copytree(preset_directory("mini-codec"), tmp_path / "next-codec")
    tensors = load_file(folder / "model.safetensors")
    tensors[CODEBOOK] = tensors[CODEBOOK].flip(0)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def settings(world: World) -> Settings:
    owner = {"owner_database_url": world.database.url("owner")}
    return Settings(**(world.settings.model_dump(exclude_defaults=True) | owner))


@pytest.fixture
def old(world: World, settings: Settings) -> Iterator[Runtime]:
    """A night by the codec in use."""
    for name, data in CLIPS.items():
        world.put(name, data)
    clips, labels = {"low.wav": tone(200), "high.wav": tone(3000)}, {"low.wav": "low", "high.wav": "high"}
    with opened(settings) as runtime:
        import_into(runtime, world.put_library(clips, labels))
        night(runtime, world.place)
        yield runtime


@pytest.fixture
def new(settings: Settings, old: Runtime, next_codec: Path) -> Iterator[Runtime]:
    with opened(settings.model_copy(update={"codec": str(next_codec)})) as runtime:
        yield runtime


def upgraded(world: World, new: Runtime) -> Comparison:
    compared, _ = upgrade(new, world.place, REQUEST, with_bar)
    assert compared
    return compared


def asked(world: World, question: str) -> list[dict[str, Any]]:
    return rows(world.database.url("analyst"), question)


def current_codecs(world: World) -> set[str]:
    return {row["codec"] for row in asked(world, "SELECT codec FROM analytics.labels")}


def test_a_new_codec_answers_beside_the_one_in_use_until_it_is_promoted(world: World, new: Runtime) -> None:
    compared = upgraded(world, new)
    assert [clip.uri.rpartition("/")[2] for clip in compared.answers] == ["a.wav", "b.wav"]
    assert compared.old.startswith(f"{LIBRARY}@1, codec mini-codec ")
    both = asked(world, f"SELECT codec FROM analytics.answers WHERE uri = '{world.place}/a.wav'")
    assert {row["codec"] for row in both} == {"mini-codec", new.settings.codec}
    assert current_codecs(world) == {"mini-codec"}
    switch, _ = promote_models(new, LIBRARY)
    assert (switch.before, switch.now) == (compared.old, compared.new)
    assert current_codecs(world) == {new.settings.codec}


def test_the_demonstrations_are_tokenized_first(world: World, new: Runtime) -> None:
    upgraded(world, new)
    order = asked(
        world,
        "SELECT DISTINCT ON (t.content_sha256) t.created_at, t.uri ^@ 's3://clips' AND t.uri ~ '/library/' "
        f"AS demonstration FROM analytics.tokens t WHERE codec = '{new.settings.codec}'",
    )
    when = {
        kind: [row["created_at"] for row in order if row["demonstration"] == kind] for kind in (True, False)
    }
    assert max(when[True]) < min(when[False])


def test_switching_back_takes_the_old_models(world: World, old: Runtime, new: Runtime) -> None:
    upgraded(world, new)
    promote_models(new, LIBRARY)
    promote_models(old, LIBRARY)
    assert current_codecs(world) == {"mini-codec"}


def test_models_without_answers_are_not_promoted(world: World, new: Runtime) -> None:
    with pytest.raises(ValueError, match="has no answers yet: run upgrade-models first"):
        promote_models(new, LIBRARY)


def test_an_upgrade_to_what_is_in_use_is_refused(world: World, old: Runtime, new: Runtime) -> None:
    upgraded(world, new)
    with pytest.raises(ValueError, match="is in use already: set WORDWAVE_CODEC or WORDWAVE_LLM"):
        upgrade(old, world.place, LabelRequest(LIBRARY), with_bar)


def test_only_a_codec_that_nobody_uses_is_pruned(world: World, old: Runtime, new: Runtime) -> None:
    upgraded(world, new)
    fingerprint = old.codec.fingerprint
    with pytest.raises(ValueError, match=r"answers by codec .* are promoted"):
        prune(new, fingerprint[:12])
    promote_models(new, LIBRARY)
    with pytest.raises(ValueError, match="is the one in use"):
        prune(old, fingerprint[:12])
    with pytest.raises(
        ValueError, match="0 codecs have a fingerprint that begins with 00000000: mini-codec "
    ):
        prune(new, "00000000")
    answers = asked(world, "SELECT * FROM analytics.answers")
    assert prune(new, fingerprint[:12]).counts == {"prune.contents": 4}
    assert {row["codec"] for row in asked(world, "SELECT codec FROM analytics.tokens")} == {
        new.settings.codec
    }
    assert len(asked(world, "SELECT * FROM analytics.answers")) == len(answers)
