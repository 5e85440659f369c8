"""A comparison of champion and challenger over the clips of the pages, with hostile names and labels."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from core.in_context.reviewing.comparison import paired_gain
from flows.pipeline.labeling.library_review import named_library
from flows.pipeline.reviews.again import Change, Outlook
from flows.pipeline.reviews.challenge import CHALLENGE, Contest, summary_of
from flows.pipeline.reviews.learning import LEARN, Proposal
from flows.pipeline.reviews.learning import summary_of as lesson_summary
from flows.pipeline.reviews.lessons import Lesson, SuspectDemonstration
from flows.pipeline.reviews.scoring import Scores
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.resources import Runtime
from tests.flows.server.explorer.conftest import DAYS, HOSTILE, Explored

HOSTILE_LABEL = '"><script>alert(1)</script>'
GONE = "file:///gone/clip.wav"


def keep_contest(explored: Explored) -> str:
    """Record a comparison, and return the address of its page."""
    gain = paired_gain([True] * 6 + [False] * 4, [True] * 9 + [False])
    contest = Contest(
        "the answers now: sounds@1, codec mini 12345678, no LLM",
        "sounds@2, codec mini 12345678, no LLM, by mixture <b>",
        Scores({"random reviews": gain}, gain),
        outlook_of(explored),
        "wordwave library promote sounds@2",
    )
    return f"/comparisons/{_keep(explored, CHALLENGE, summary_of(contest))}"


def keep_lesson(explored: Explored, *, is_compared: bool = True) -> str:
    """Record what ten decisions taught the library, and return the address of what it moves.

    Lessons from before there were comparisons name no sides.
    """
    runtime = Runtime(explored.settings)
    old = named_library(runtime, "sounds@1")
    runtime.close()
    gain = paired_gain([True] * 17 + [False] * 4, [True] * 18 + [False] * 3)
    suspects = tuple(SuspectDemonstration(row, "hiss") for row in old.demonstrations[:2])
    lesson = Lesson(old, old.demonstrations, (), (), (), (), suspects)
    scores = Scores({"random reviews": gain}, gain)
    proposal = Proposal(replace(old, version=2), lesson, 10, scores, outlook_of(explored))
    summary = dict(lesson_summary(proposal))
    if not is_compared:
        del summary["champion"], summary["challenger"]
    return f"/comparisons/{_keep(explored, LEARN, summary)}"


def outlook_of(explored: Explored) -> Outlook:
    """Six of twelve labels move, those of hostile names among them."""
    folder = explored.folder / DAYS[-1]
    tones = [(folder / f"tone-{number}.wav").as_uri() for number in range(2)]
    hostile = [(folder / name).as_uri() for name in HOSTILE[:3]]
    changes = [Change(uri, "tone", "hiss") for uri in (*tones, GONE)]
    changes += [Change(uri, "hiss", HOSTILE_LABEL) for uri in hostile]
    return Outlook(3, 24, 12, changes, 1.5, Counter(tone=4, hiss=2))


def _keep(explored: Explored, kind: str, summary: Mapping[str, Any]) -> UUID:
    runtime = Runtime(explored.settings)
    try:
        with recorded_run(runtime, kind, "sounds", {"library": "sounds@1"}) as run:
            run.summary = summary
    finally:
        runtime.close()
    return run.id
