"""Whole jobs that answer with audio, each one recorded run that writes a page with its answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Literal

from db.clips import TOKENIZE_STAGE, Selection, clip_uris
from db.engine import session_scope
from db.generated import IN_CONTEXT, StoredAudio
from db.quarantine import open_quarantine
from flows.pipeline.generation.denoise import STAGE as DENOISE
from flows.pipeline.generation.denoise import OfClips
from flows.pipeline.generation.generate import Generation, Q, TextQuestion, TextTask, TextToAudio
from flows.pipeline.generation.measures.denoising import choose_method, measure_pairs
from flows.pipeline.generation.measures.hearing import Hearing
from flows.pipeline.generation.methods import MethodChoice, denoising_by
from flows.pipeline.generation.record import AudioAnswer, Record, keep_page
from flows.pipeline.generation.request import AudioRequest, DenoisingMethod
from flows.pipeline.generation.texts import Texts
from flows.pipeline.nights.jobs import BatchRunner, ingest_place, run_once, run_stage, tokenize_place
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.run import OpenRun, recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.resources import Runtime

NO_DENOISER = "there is no denoiser (install wordwave[denoise]), so the LLM answers in context"
KINDS: dict[TextTask, str] = {"speech": "generate-speech", "sound": "generate-sound"}


@dataclass(frozen=True)
class Generated:
    """A finished run and its record."""

    run: OpenRun
    record: Record


def run_texts(
    runtime: Runtime,
    task: TextTask,
    request: AudioRequest,
    texts: Texts,
    run_batches: BatchRunner,
    *,
    judge: bool = False,
    flow_run_id: str | None = None,
) -> Generated:
    """Generate speech or sounds for texts, and let the installed judge hear them if that is asked.

    Raises PromptError for a given text that no prompt can contain.
    """
    partition = texts.place or f"texts {texts.sha256}"
    parameters = asdict(request) | {"texts_uri": texts.place, "texts_sha256": texts.sha256}
    parameters |= {"judge": True} if judge else {}
    recorded = recorded_run(
        runtime, KINDS[task], partition, parameters, libraries=("library",), flow_run_id=flow_run_id
    )
    with recorded as run:
        text_to_audio = TextToAudio(runtime, task, replace(request, library=run.parameters["library"]))
        run.breaker.run(lambda: text_to_audio.prepare(run.claim))
        accepted = texts.accepted(text_to_audio.check)
        run.count("texts", Counts(read=len(accepted.lines), refused=len(accepted.refused)))
        questions = {line.text: TextQuestion(line.text) for line in accepted.lines}
        batches = run.breaker.run(lambda: text_to_audio.undone(questions.values()))
        answer_batch = partial(text_to_audio.answer_batch, run=run.claim)
        run_stage(run, run_batches, "generate", answer_batch, batches, things="texts")
        restore(text_to_audio, questions.values(), run, run_batches)
        remark = hear(text_to_audio, questions.values(), run, run_batches) if judge else None
        audio = text_to_audio.audio(questions.values())
        failed = {question: why.message for question, why in text_to_audio.failed.items()}
        answers = [
            audio_answer(text, question, audio, failed.get(question)) for text, question in questions.items()
        ]
        record = Record(text_to_audio, answers, accepted.refused, remark=remark)
        run_once(run, "page", partial(keep_page, record, run))
    return Generated(run, record)


def hear(
    speech: TextToAudio, questions: Iterable[TextQuestion], run: OpenRun, run_batches: BatchRunner
) -> str | None:
    """Keep what the judge hears in the answers. Return the reason where none is installed."""
    from core.evaluation.whisper import MISSING

    if (whisper := speech.runtime.whisper) is None:
        return MISSING
    hearing = Hearing(speech, whisper)
    batches = run.breaker.run(lambda: hearing.unheard(questions))
    run_stage(
        run, run_batches, "judge", partial(hearing.hear_batch, run=run.claim), batches, things="answers"
    )
    return None


def run_denoising(
    runtime: Runtime,
    partition: Partition,
    request: AudioRequest,
    run_batches: BatchRunner,
    *,
    method: DenoisingMethod = "auto",
    flow_run_id: str | None = None,
) -> Generated:
    """List, tokenize and denoise the clips of a partition."""
    parameters = {"prefix": partition.prefix, **asdict(request), "method": method}
    recorded = recorded_run(
        runtime,
        "denoise-clips",
        partition.name,
        parameters,
        libraries=("library",),
        day=partition.day,
        flow_run_id=flow_run_id,
    )
    with recorded as run:
        of_version = replace(request, library=run.parameters["library"])
        choice = _choose(runtime, of_version, method, run)
        denoising = denoising_by(runtime, of_version, choice.method if choice else method)
        ingest_place(runtime, partition.place, run, allow_loss=partition.allow_loss)
        selection = run.breaker.run(lambda: partition.selection(runtime))
        require_clips(runtime, partition.where, selection)
        tokenize_place(runtime, partition.place, selection, run, run_batches)
        run.breaker.run(lambda: denoising.prepare(run.claim))
        batches = denoising.batches(selection)
        run_stage(run, run_batches, DENOISE, partial(denoising.answer_batch, run=run.claim), batches)
        restore(denoising, denoising.questions(selection).values(), run, run_batches)
        record = Record(denoising, clip_answers(denoising, selection), choice=choice)
        run_once(run, "page", partial(keep_page, record, run))
    return Generated(run, record)


def _choose(
    runtime: Runtime, request: AudioRequest, method: DenoisingMethod, run: OpenRun
) -> MethodChoice | None:
    """Return the method that `auto` takes, None where another one is asked for."""
    if method != "auto":
        return None
    if runtime.denoiser is None:
        return MethodChoice(IN_CONTEXT, NO_DENOISER)
    run_once(run, "measure", partial(measure_pairs, runtime, request, run.claim))
    return run.breaker.run(lambda: choose_method(runtime, request))


def restore(
    generation: Generation[Q], questions: Iterable[Q], run: OpenRun, run_batches: BatchRunner
) -> None:
    """Write the audio of answers again whose objects are missing or changed."""
    batches = run.breaker.run(lambda: generation.lost(questions))
    restore_batch = partial(generation.restore_batch, run=run.claim)
    run_stage(run, run_batches, "restore", restore_batch, batches, things="answers")


def clip_answers(denoising: OfClips, selection: Selection) -> Sequence[AudioAnswer]:
    """Return an answer for every selected current clip: generated, quarantined or pending."""
    questions = denoising.questions(selection)
    audio = denoising.audio(questions.values())
    with session_scope(denoising.runtime.engine) as session:
        uris = clip_uris(session, selection)
        rejected = open_quarantine(session, selection, TOKENIZE_STAGE, denoising.stage)
    reasons = {row.uri: row.reason for row in rejected}
    return [audio_answer(uri, questions.get(uri), audio, reasons.get(uri)) for uri in uris]


def audio_answer(
    name: str, question: Q | None, audio: Mapping[Q, StoredAudio], reason: str | None = None
) -> AudioAnswer:
    """Return the outcome of a question, given the existing audio."""
    if question is not None and question in audio:
        return AudioAnswer(question, name, "generated", audio[question])
    if reason is None:
        return AudioAnswer(question, name, "pending")
    status: Literal["failed", "quarantined"] = (
        "failed" if isinstance(question, TextQuestion) else "quarantined"
    )
    return AudioAnswer(question, name, status, reason=reason)
