"""A comparison of champion and challenger over the clips of the pages, with hostile names and labels."""

from collections import Counter

from core.reviewing.comparison import paired_gain
from flows.pipeline.reviews.again import Change, Outlook
from flows.pipeline.reviews.challenge import CHALLENGE, Contest, summary_of
from flows.pipeline.reviews.scoring import Scores
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.resources import Runtime
from tests.flows.server.explorer.conftest import DAYS, HOSTILE, Explored

HOSTILE_LABEL = '"><script>alert(1)</script>'
GONE = "file:///gone/clip.wav"


def keep_contest(explored: Explored) -> str:
    """Record a comparison, and return the address of its page."""
    folder = explored.folder / DAYS[-1]
    tones = [(folder / f"tone-{number}.wav").as_uri() for number in range(2)]
    hostile = [(folder / name).as_uri() for name in HOSTILE[:3]]
    changes = [Change(uri, "tone", "hiss") for uri in (*tones, GONE)]
    changes += [Change(uri, "hiss", HOSTILE_LABEL) for uri in hostile]
    gain = paired_gain([True] * 6 + [False] * 4, [True] * 9 + [False])
    contest = Contest(
        "the answers now: sounds@1, codec mini 12345678, no LLM",
        "sounds@2, codec mini 12345678, no LLM, by mixture <b>",
        Scores({"random reviews": gain}, gain),
        Outlook(3, 24, 12, changes, 1.5, Counter(tone=4, hiss=2)),
        "wordwave library promote sounds@2",
    )
    runtime = Runtime(explored.settings)
    try:
        with recorded_run(runtime, CHALLENGE, "sounds", {"library": "sounds@2"}) as run:
            run.summary = summary_of(contest)
    finally:
        runtime.close()
    return f"/comparisons/{run.id}"
