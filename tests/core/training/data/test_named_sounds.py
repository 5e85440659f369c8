import pytest

from core.training.data.families import FAMILIES
from core.training.data.named_sounds import NAMED_SOUNDS


@pytest.mark.parametrize("label", NAMED_SOUNDS)
def test_the_parameters_of_a_named_sound_are_complete_and_in_range(label: str) -> None:
    for layer in NAMED_SOUNDS[label].layers:
        ranges = FAMILIES[layer.family].ranges
        assert list(layer.values) == list(ranges)
        assert all(ranges[name].low <= value <= ranges[name].high for name, value in layer.values.items())
