"""Previews of nights: the plan, the lengths of its clips, one of its prompts and the expected duration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.errors import PromptTooLong
from db.engine import session_scope
from db.run_history import past_runs
from db.tokens import get_token_sequences, token_lengths
from flows.pipeline.clips.stored_codes import clip_codes
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.nights.plan import NightPlan, Planner
from flows.pipeline.nights.summary import clips_worked
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from core.tokens.clip_codes import ClipCodes

PAST_RUNS = 10
NO_PROMPTS = {"nearest-neighbour": "no LLM is set: the nearest demonstration by tokens answers"}


@dataclass(frozen=True)
class Pace:
    """The speed of past runs of the same kind and models."""

    clips_per_second: float
    runs: int


@dataclass(frozen=True)
class PromptPreview:
    """A prompt as the LLM would read it, or `why_none`.

    `shared` ids are read once for all clips, `longest` is the length of the longest prompt, `context` that of
    the LLM's context; `over_limit` means that the prompt does not fit, for any clip. `words` are the words
    that stand for the labels if the LLM was trained that way. If no clip has tokens yet, the query is a
    demonstration (`of_demonstration`).
    """

    text: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    of_demonstration: bool = False
    shared: int = 0
    longest: int = 0
    context: int = 0
    why_none: str = ""
    over_limit: bool = False


@dataclass(frozen=True)
class Preview:
    """A plan with what people want to know before they run it. `lengths` in semantic codes, sorted."""

    plan: NightPlan
    lengths: Sequence[int]
    prompt: PromptPreview
    pace: Pace | None

    @property
    def minutes(self) -> float | None:
        """The expected duration by the pace of past runs, None without any."""
        return None if self.pace is None else self.plan.due / self.pace.clips_per_second / 60

    @property
    def over_limit(self) -> int:
        """The number of prompts longer than the LLM's context."""
        return self.plan.due if self.prompt.over_limit else 0


def preview(labelings: Labelings, partition: Partition, kind: str) -> Preview:
    """Preview a run. Writes nothing, except the row of a new codec.

    The prompt is that of the first label where each label has one.
    """
    planner, labeling = Planner(labelings), labelings.all[0]
    plan, contents = planner.plan(partition), planner.contents(partition)
    with session_scope(labeling.runtime.engine) as session:
        lengths = token_lengths(session, labeling.runtime.codec_id, contents)
    return Preview(plan, lengths, preview_prompt(labeling, contents), pace(labeling.runtime, kind))


def pace(runtime: Runtime, kind: str) -> Pace | None:
    """Return the speed of the last completed runs with the models of the settings, None without any."""
    llm = runtime.llm.fingerprint if runtime.llm else None
    with session_scope(runtime.engine) as session:
        runs = past_runs(session, kind, runtime.codec_fingerprint, llm, PAST_RUNS)
    worked, seconds = sum(clips_worked(run.counts) for run in runs), sum(run.seconds for run in runs)
    return Pace(worked / seconds, len(runs)) if worked and seconds else None


def preview_prompt(labeling: Labeling, contents: Sequence[bytes]) -> PromptPreview:
    """Return the prompt for the first of the contents, or for a demonstration if there are none."""
    from core.in_context.labelers import FewShotLabeler
    from core.in_context.nearest_shots import NearestShotsLabeler
    from core.prompts.model_slots import label_words

    setup, answering = labeling.setup, labeling.setup.answering
    if not answering.is_known:
        return PromptPreview(why_none="the night chooses its labeler first")
    llm, method = answering.llm, answering.method
    if llm is None:
        return PromptPreview(why_none=NO_PROMPTS.get(method, f"{method} answers, without an LLM"))
    if not setup.is_prepared():
        return PromptPreview(why_none="the demonstrations have no tokens of this codec yet")
    try:
        _ = setup.prompt.hash
    except PromptTooLong as error:
        return PromptPreview(why_none=str(error), over_limit=True)
    labeler = setup.labeler
    assert isinstance(labeler, FewShotLabeler | NearestShotsLabeler)
    clip = _clip(labeling, contents)
    prompt = labeler.prompt_for(clip)
    prompt_ids = [*prompt.prefix_ids, *prompt.query_ids(clip)[0]]
    return PromptPreview(
        text=llm.vocabulary.tokenizer.decode(prompt_ids),
        words=label_words(prompt.labels, prompt.model_prompt.slots, 0) if prompt.model_prompt.slots else {},
        of_demonstration=not contents,
        shared=len(prompt.prefix_ids),
        longest=labeler.longest_prompt,
        context=llm.context_length,
    )


def _clip(labeling: Labeling, contents: Sequence[bytes]) -> ClipCodes:
    wanted = contents[0] if contents else labeling.setup.library.demonstrations[0].content_sha256
    with session_scope(labeling.runtime.engine) as session:
        return clip_codes(get_token_sequences(session, labeling.runtime.codec_id, [wanted])[wanted])
