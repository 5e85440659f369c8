"""Rechecks of contents that were read before today's checks existed; results of wrong audio are redone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from core.decoding.audio_stream import AudioInfo
from core.errors import AudioRejected
from db.clips import TOKENIZE_STAGE
from db.engine import session_scope
from db.recheck import (
    BAD_LATENT,
    RetractedAnswer,
    RetractedAudio,
    Suspect,
    SuspectCount,
    answers_retracted_by,
    audio_retracted_by,
    confirm_contents,
    count_retracted_of_others,
    count_suspects,
    discard_tokens,
    libraries_showing,
    restate_content,
    suspect_contents,
    unlink_contents,
)
from db.retractions import RECHECK, retract_about, retract_shown
from db.retries import PASSING_REASONS
from flows.pipeline.clips.stored_codes import quarantine
from flows.pipeline.clips.tokenize_clips import tokenize_uris
from flows.pipeline.files.lake import refresh_whole_lake
from flows.pipeline.generation.denoise import OfClips
from flows.pipeline.generation.generate import Generation, TextQuestion
from flows.pipeline.generation.methods import generation_for, known_denoisers
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.nights.jobs import BatchRunner, label_selection, run_once, run_stage, tokenize_place
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Readable, StorageDenied
from flows.pipeline.storage.uris import canonical

Request = TypeVar("Request", LabelRequest, AudioRequest)
Verdict = Literal["unchanged", "changed", "refused", "damaged", "left"]


@dataclass(frozen=True)
class RereadSuspect:
    """A suspect and the result of reading it again: `info`, or why it was rejected."""

    suspect: Suspect
    sha256: bytes | None = None
    info: AudioInfo | None = None
    rejected: AudioRejected | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the stored content. Decoding is exact: equal length and peak mean equal audio.

        A reason from outside, such as denied access, says nothing about the bytes, so the clip is left for
        the next recheck.
        """
        if self.sha256 is None or (self.rejected and self.rejected.reason in PASSING_REASONS):
            return "left"
        if self.sha256 != self.suspect.content_sha256:
            return "damaged"
        if self.info is None:
            return "refused"
        same = (self.info.num_samples, self.info.peak) == (self.suspect.num_samples, self.suspect.peak)
        return "unchanged" if same and self.suspect.kind != BAD_LATENT else "changed"


@dataclass(frozen=True)
class Recheck:
    """A recheck, its retracted answers and the libraries that show a refused clip.

    `left` counts retracted answers of models that are not in the settings, which it cannot give again.
    """

    run: OpenRun
    past_answers: set[RetractedAnswer] = field(default_factory=set)
    past_audio: set[RetractedAudio] = field(default_factory=set)
    libraries: set[str] = field(default_factory=set)
    left: int = 0


def suspects_of(runtime: Runtime, prefix: str) -> list[SuspectCount]:
    """Return how many contents of a place a recheck would read, by kind."""
    with session_scope(runtime.engine) as session:
        return count_suspects(session, canonical(prefix), runtime.codec_id)


def suspect_lines(suspects: Sequence[SuspectCount]) -> Iterator[str]:
    """Yield what a recheck will read again, before it begins."""
    contents, size = sum(found.contents for found in suspects), sum(found.size for found in suspects)
    yield f"{contents} contents ({size / 1e6:.1f} MB) are suspect and will be read again"
    for found in suspects:
        yield f"{found.contents:>9}  {found.kind}"


def recheck_place(
    runtime: Runtime, prefix: str, run_batches: BatchRunner, *, flow_run_id: str | None = None
) -> Recheck:
    """Read the suspect contents of a place again, retract the results of wrong audio and redo them.

    Each batch settles its contents in one transaction: after a kill, the next recheck continues there.
    """
    place = canonical(prefix)
    with recorded_run(runtime, RECHECK, place, {}, flow_run_id=flow_run_id) as run:
        with session_scope(runtime.engine) as session:
            suspects = suspect_contents(session, place, runtime.codec_id)
        storage, batches = runtime.readable(place), batches_of(suspects, runtime.settings.batch_size)
        recheck = Recheck(run)
        step = partial(_recheck_batch, runtime, storage, recheck)
        run_stage(run, run_batches, "recheck", step, batches)
        tokenize_place(runtime, place, place, run, run_batches)
        _label_again(runtime, recheck, run_batches)
        _generate_again(runtime, recheck, run_batches)
        run_once(run, "lake", partial(refresh_whole_lake, runtime, run.id))
        with session_scope(runtime.engine) as session:
            models = (runtime.codec_id, *_llm_ids(runtime), known_denoisers(runtime))
            left = count_retracted_of_others(session, run.id, *models)
    return replace(recheck, left=left)


def _recheck_batch(runtime: Runtime, storage: Readable, recheck: Recheck, batch: Sequence[Suspect]) -> Counts:
    findings = list(runtime.decoding.map(lambda suspect: _read_again(runtime, storage, suspect), batch))
    by_verdict: defaultdict[Verdict, list[RereadSuspect]] = defaultdict(list)
    for finding in findings:
        by_verdict[finding.verdict].append(finding)
    llm_id, audio_llm_id = _llm_ids(runtime)
    denoisers = known_denoisers(runtime)
    with run_session(runtime, recheck.run.claim) as session:
        confirm_contents(session, _contents(by_verdict["unchanged"]))
        retracted = _retract(session, by_verdict, recheck)
        past = answers_retracted_by(session, recheck.run.id, runtime.codec_id, llm_id)
        past_audio = audio_retracted_by(session, recheck.run.id, runtime.codec_id, audio_llm_id, denoisers)
        _restate(session, by_verdict["changed"])
        libraries = _take_away(session, by_verdict, recheck.run.id)
    recheck.past_answers.update(past)
    recheck.past_audio.update(past_audio)
    recheck.libraries.update(libraries)
    return Counts(finding.verdict for finding in findings) + Counts(retracted=retracted)


def _read_again(runtime: Runtime, storage: Readable, suspect: Suspect) -> RereadSuspect:
    clip, sha256 = suspect.clip, None
    try:
        with storage.read(clip.uri, clip.version_token, clip.size) as fetched:
            sha256 = fetched.sha256
            stream = runtime.decoder.open(fetched.path)
            for _ in stream:
                pass
            return RereadSuspect(suspect, sha256, stream.info)
    except AudioRejected as rejected:
        return RereadSuspect(suspect, sha256, rejected=rejected)
    except StorageDenied as denied:
        return RereadSuspect(suspect, rejected=AudioRejected("denied", str(denied)))


def _retract(
    session: Session, by_verdict: Mapping[Verdict, Sequence[RereadSuspect]], recheck: Recheck
) -> int:
    """Retract answers about wrong audio, and those of libraries that show audio which was read in part."""
    changed, run_id = _contents(by_verdict["changed"]), recheck.run.id
    wrong = changed | _contents(by_verdict["refused"]) | _contents(by_verdict["damaged"])
    return retract_about(session, wrong, run_id) + retract_shown(session, changed, run_id)


def _restate(session: Session, changed: Iterable[RereadSuspect]) -> None:
    for finding in changed:
        assert finding.info
        restate_content(session, finding.suspect.content_sha256, finding.info)


def _take_away(
    session: Session, by_verdict: Mapping[Verdict, Sequence[RereadSuspect]], run_id: UUID
) -> set[str]:
    """Unlink refused and damaged contents from their clips; return the libraries that show one.

    Such contents keep their tokens: a frozen library needs them until a person imports it again.
    """
    why = {one.suspect.content_sha256: one.rejected for one in by_verdict["refused"] if one.rejected}
    quarantine(session, TOKENIZE_STAGE, run_id, why)
    unusable = _contents(by_verdict["refused"]) | _contents(by_verdict["damaged"])
    libraries = libraries_showing(session, unusable)
    unlink_contents(session, unusable)
    discard_tokens(session, unusable - libraries.keys())
    return {name for names in libraries.values() for name in names}


def _contents(findings: Iterable[RereadSuspect]) -> set[bytes]:
    return {finding.suspect.content_sha256 for finding in findings}


def _llm_ids(runtime: Runtime) -> tuple[int | None, int | None]:
    """Return the ids of the LLMs that label and that answer with audio, if there are any."""
    llm, audio_llm = runtime.llm, runtime.audio_llm
    return llm.id if llm else None, audio_llm.id if audio_llm else None


def _label_again(runtime: Runtime, recheck: Recheck, run_batches: BatchRunner) -> None:
    """Repeat the requests of the retracted labels, those by the models of the settings."""
    requests: defaultdict[LabelRequest, set[str]] = defaultdict(set)
    for answer in recheck.past_answers:
        requests[_request(LabelRequest, answer)].add(answer.uri)
    for request, uris in requests.items():
        labeling = Labeling(runtime, request)
        labeling.setup.prepare(recheck.run.claim)
        models = labeling.setup.answering.embedding_models, labeling.setup.window_models
        tokenize_uris(runtime, uris, recheck.run.claim, *models)
        label_selection(labeling, uris, recheck.run, run_batches)


def _generate_again(runtime: Runtime, recheck: Recheck, run_batches: BatchRunner) -> None:
    """Repeat the requests of the retracted audio, those by the models of the settings."""
    requests: defaultdict[tuple[str, str, AudioRequest], set[RetractedAudio]] = defaultdict(set)
    for audio in recheck.past_audio:
        requests[audio.task, audio.method, _request(AudioRequest, audio)].add(audio)
    patiently = recheck.run.breaker.run
    for (task, method, request), past in requests.items():
        generation = generation_for(runtime, task, request, method)
        patiently(partial(generation.prepare, recheck.run.claim))
        batches = patiently(partial(_batches, generation, past))
        answer_batch = partial(generation.answer_batch, run=recheck.run.claim)
        run_stage(recheck.run, run_batches, "generate", answer_batch, batches, things="answers")


def _batches(generation: Generation[Any], past: Iterable[RetractedAudio]) -> list[Sequence[Any]]:
    if isinstance(generation, OfClips):
        return generation.batches({audio.uri for audio in past if audio.uri})
    return generation.undone({TextQuestion(audio.text) for audio in past if audio.text is not None})


def _request(kind: type[Request], past: RetractedAnswer | RetractedAudio) -> Request:
    """Return the request of a past answer, with the library version that answered."""
    names = {one.name for one in fields(kind)}
    known: dict[str, Any] = {name: value for name, value in past.parameters if name in names}
    return kind(**(known | {"library": past.library}))
