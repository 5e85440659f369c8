"""What a plan tells beside its clips: their lengths, one of their prompts, and how long it would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.errors import PromptTooLong
from db.engine import session_scope
from db.nights import past_runs
from db.tokens import get_token_sequences, token_lengths
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.nights.plan import NightPlan, Planner
from flows.pipeline.nights.summary import clips_worked
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.stored_codes import clip_codes

if TYPE_CHECKING:
    from core.tokens.clip_codes import ClipCodes

PAST_RUNS = 10


@dataclass(frozen=True)
class Pace:
    """How fast past runs of the same kind and models were."""

    clips_per_second: float
    runs: int


@dataclass(frozen=True)
class PromptPreview:
    """A prompt as the LLM would read it, or why there is none.

    `shared` ids are read once for all clips, `longest` is the most that a clip can take with them, of
    `context` that the LLM holds; `over_limit` says that the prompt does not fit, which is so for every clip.
    `words` are what the LLM says in place of each label, where it was trained so. The clip that is asked is a
    demonstration itself where no other has tokens yet.
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
    """A plan and all that people want to know before they let it run. `lengths` in semantic codes, sorted."""

    plan: NightPlan
    lengths: Sequence[int]
    prompt: PromptPreview
    pace: Pace | None

    @property
    def minutes(self) -> float | None:
        """As the pace of past runs has it; None without any."""
        return None if self.pace is None else self.plan.due / self.pace.clips_per_second / 60

    @property
    def over_limit(self) -> int:
        """How many prompts would be longer than the LLM's context."""
        return self.plan.due if self.prompt.over_limit else 0


def preview(labeling: Labeling, partition: Partition, kind: str) -> Preview:
    """What a run would do. Nothing is written but the row of a codec that is seen for the first time."""
    planner = Planner(labeling)
    plan, contents = planner.plan(partition), planner.contents(partition)
    with session_scope(labeling.runtime.engine) as session:
        lengths = token_lengths(session, labeling.runtime.codec_id, contents)
    return Preview(plan, lengths, preview_prompt(labeling, contents), pace(labeling.runtime, kind))


def pace(runtime: Runtime, kind: str) -> Pace | None:
    """Clips a second of the last completed runs with the models of the settings, None without any."""
    llm = runtime.llm.fingerprint if runtime.llm else None
    with session_scope(runtime.engine) as session:
        runs = past_runs(session, kind, runtime.codec_fingerprint, llm, PAST_RUNS)
    worked, seconds = sum(clips_worked(run.counts) for run in runs), sum(run.seconds for run in runs)
    return Pace(worked / seconds, len(runs)) if worked and seconds else None


def preview_prompt(labeling: Labeling, contents: Sequence[bytes]) -> PromptPreview:
    """The prompt of the first of the contents, or of a demonstration where none has tokens."""
    from core.in_context.labelers import FewShotLabeler
    from core.in_context.nearest_shots import NearestShotsLabeler
    from core.prompts.model_slots import label_words

    llm = labeling.runtime.llm
    if llm is None:
        return PromptPreview(why_none="no LLM is set: the nearest demonstration by tokens answers")
    if not labeling.setup.is_prepared():
        return PromptPreview(why_none="the demonstrations have no tokens of this codec yet")
    try:
        _ = labeling.setup.prompt_hash
    except PromptTooLong as error:
        return PromptPreview(why_none=str(error), over_limit=True)
    labeler = labeling.setup.labeler
    assert isinstance(labeler, FewShotLabeler | NearestShotsLabeler)
    clip = _clip(labeling, contents)
    prompt = labeler.prompt_for(clip)
    asked = [*prompt.prefix_ids, *prompt.query_ids(clip)[0]]
    return PromptPreview(
        text=llm.vocabulary.tokenizer.decode(asked),
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
