"""Similarity is that of the labeler, and a map keeps near what is near."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.in_context.latents import _directions
from flows.server.explorer.charts import share_chart
from flows.server.explorer.similarity import directions, nearest, plane
from tests.core.made_clips import clip_of


def stored(rows: NDArray[np.float16]) -> list[tuple[bytes, bytes]]:
    """Latents (clips, 2, D) as they are stored."""
    return [(row[0].astype("<f2").tobytes(), row[1].astype("<f2").tobytes()) for row in rows]


def test_directions_are_those_of_the_labeler() -> None:
    latents = np.random.default_rng(0).random((5, 2, 8)).astype(np.float16)
    codes = [np.zeros(length, np.int16) for length in (2, 4, 8)]
    clips = [clip_of(codes, latent=latent) for latent in latents]
    assert directions(stored(latents)) == pytest.approx(_directions(clips), abs=1e-6)


def test_the_nearest_come_first() -> None:
    unit = directions(stored(np.random.default_rng(1).standard_normal((40, 2, 8)).astype(np.float16)))
    found = nearest(unit[7], unit, 40)
    assert found[0][0] == 7
    assert found[0][1] == pytest.approx(1.0, abs=1e-3)
    assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)


def test_a_map_keeps_two_groups_apart_and_is_the_same_each_time() -> None:
    random = np.random.default_rng(2)
    centers = random.standard_normal((2, 2, 16))
    rows = np.concatenate([center + 0.1 * random.standard_normal((20, 2, 16)) for center in centers])
    points, kept = plane(directions(stored(rows)))
    again, _ = plane(directions(stored(rows)))
    assert (points == again).all()
    assert 0.5 < kept <= 1
    assert abs(points[:20, 0].mean() - points[20:, 0].mean()) > 0.7


def test_equal_clips_are_a_map_too() -> None:
    points, kept = plane(directions(stored(np.ones((5, 2, 4), np.float16))))
    assert np.isfinite(points).all()
    assert np.isfinite(kept)


@given(st.lists(st.none() | st.floats(0, 1), min_size=2, max_size=30))
def test_a_chart_keeps_its_points_inside_and_in_order(shares: list[float | None]) -> None:
    chart = share_chart("t", [str(at) for at in range(len(shares))], {"a": shares})
    known = [share for share in shares if share is not None]
    if chart is None:
        assert len(known) < 2
        return
    marks = chart.lines[0].marks
    assert len(marks) == len(known)
    assert [mark.x for mark in marks] == sorted(mark.x for mark in marks)
    assert all(0 <= mark.x <= chart.width and 0 <= mark.y <= chart.bottom for mark in marks)
    heights = sorted(zip(known, (mark.y for mark in marks), strict=True))
    assert [y for _, y in heights] == sorted((y for _, y in heights), reverse=True)
