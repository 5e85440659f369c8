"""Verification of a run: codes, answers and files are computed or read again. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar, get_args
from uuid import UUID

from core.errors import AudioRejected
from db.clips import ClipToTokenize
from db.engine import session_scope
from db.events import HeardEvent
from db.exports import Digests
from db.labeler_choices import StoredChoice
from db.run_outputs import (
    AnswerSample,
    AudioSample,
    EventsSample,
    TokenSample,
    get_file_digests,
    sample_answers,
    sample_audio,
    sample_events,
    sample_tokens,
)
from db.runs import RecordedRun, get_run
from db.tokens import TokenizedContent, get_token_sequences
from flows.pipeline.clips.stored_codes import clip_codes, clip_features
from flows.pipeline.clips.tokenize_clips import Outcome, encode_again
from flows.pipeline.generation.filtering import Filtered, Filtering
from flows.pipeline.generation.generate import ClipQuestion, Generation, InContext, TextQuestion, in_batches
from flows.pipeline.generation.methods import find_denoiser, generation_for
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.labeling.events.detection import EventDetection
from flows.pipeline.labeling.labelers.answering import NEAREST_NEIGHBOR
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.runs.check import Check, check
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run
from flows.pipeline.runtime.language_model import model_directory
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Storage, Stored
from flows.pipeline.storage.damage import Damage, find_damage
from flows.pipeline.storage.uris import is_s3

if TYPE_CHECKING:
    from core.tokens.clip_codes import AudioCodes
    from flows.pipeline.labeling.labelers.side_by_side import ClipLabel

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 5e-3}
"""The allowed difference from a stored probability: other batches round differently."""
MAX_NAMES_IN_FINDING = 3


WORK_KEY_CHANGED = "the work key changed: this version builds the prompt differently"

KIND = "verify-run"


def verify_run(
    runtime: Runtime, run_id: UUID, sample: int, *, flow_run_id: str | None = None
) -> tuple[list[Check], OpenRun]:
    """Verify a run as a run of its own. Raises RunNotFound, and ValueError for a run that wrote nothing."""
    parameters = {"run": str(run_id), "sample": sample}
    with recorded_run(runtime, KIND, str(run_id), parameters, flow_run_id=flow_run_id) as run:
        checks = list(verify(runtime, run_id, sample))
        run.count("verify", Counts("passed" if found.passed else "failed" for found in checks))
    return checks, run


def verify(runtime: Runtime, run_id: UUID, sample: int) -> Iterator[Check]:
    """Check the models, then encode and answer up to `sample` clips again, then read every written file."""
    with session_scope(runtime.engine) as session:
        run = get_run(session, run_id)
        tokens = sample_tokens(session, run_id, sample)
        answers = sample_answers(session, run_id, sample)
        events = sample_events(session, run_id, sample)
        audio = sample_audio(session, run_id, sample)
        files = get_file_digests(session, run_id)
    if not (tokens or answers or events or audio or files):
        raise ValueError(
            f"run {run_id} ({run.kind}) wrote no tokens, answers, events or files that are still there: "
            "name one of those in the column run of analytics.labels"
        )
    models = check("models", partial(_models, runtime, tokens, answers, events, audio), MODELS_REMEDY)
    yield models
    if models.passed and tokens:
        yield check("codes", partial(_codes, runtime, tokens), CODES_REMEDY)
    if models.passed and answers:
        yield check("answers", partial(_answers, runtime, run, answers), ANSWERS_REMEDY)
    if models.passed and events:
        yield check("events", partial(_events, runtime, run, events), EVENTS_REMEDY)
    if models.passed and audio:
        yield check("audio", partial(_audio, runtime, run, audio), AUDIO_REMEDY)
    if files:
        yield check("files", partial(_files, runtime, files), FILES_REMEDY.format(kind=run.kind))


MODELS_REMEDY = (
    "let WORDWAVE_CODEC, WORDWAVE_LLM, WORDWAVE_GENERATION_LLM and WORDWAVE_EMBEDDINGS name the models that "
    "the run used"
)
CODES_REMEDY = "check that this machine computes as the other did (WORDWAVE_DEVICE, versions of torch)"
ANSWERS_REMEDY = (
    "check the code version of the run, WORDWAVE_LLM_DTYPE and WORDWAVE_DEVICE; undo-run retracts the answers"
)
EVENTS_REMEDY = "check the code version of the run; undo-run retracts the events"
AUDIO_REMEDY = (
    "check the code version of the run, WORDWAVE_LLM_DTYPE and WORDWAVE_DEVICE (in half precision another "
    "batch may give other audio); undo-run retracts the answers"
)
FILES_REMEDY = (
    "somebody removed or replaced them: run {kind} again with the same parameters, which writes them again"
)


def _models(
    runtime: Runtime,
    tokens: Sequence[TokenSample],
    answers: Sequence[AnswerSample],
    events: Sequence[EventsSample],
    audio: Sequence[AudioSample],
) -> str:
    """Check that the models of the settings, hashed from their files, are those of the rows."""
    codec, settings = runtime.codec.fingerprint, runtime.settings
    used = {row.codec for rows in (tokens, answers, events, audio) for row in rows}
    if others := used - {codec}:
        raise ValueError(f"the run used codec {_short(others)}, {settings.codec} is {codec[:12]}")
    models = [f"codec {codec[:12]}"]
    if answers or not audio:
        used = {str(row.llm) for row in answers if row.llm or row.labeler == NEAREST_NEIGHBOR}
        models.append(_llm(runtime, settings.llm, used) if used or not answers else "no LLM asked")
    if embeddings := {row.embedding for row in events}:
        models.append(_embeddings(runtime, embeddings))
    if llms := {row.llm for row in audio if row.llm is not None}:
        models.append(_llm(runtime, settings.generation_llm, llms))
    if denoisers := {(row.method, row.denoiser) for row in audio if row.denoiser is not None}:
        models += [_denoiser(runtime, *one) for one in sorted(denoisers)]
    return ", ".join(models)


def _llm(runtime: Runtime, name: str | None, used: set[str]) -> str:
    """Check that an LLM, hashed from its files, is the one that the run used."""
    found = None
    if name is not None:
        from core.llama.files import model_fingerprint

        found = model_fingerprint(model_directory(name), runtime.llm_dtype)
    if others := used - {str(found)}:
        raise ValueError(f"the run used LLM {_short(others)}, {name} is {str(found)[:12]}")
    return f"LLM {found[:12]}" if found else "no LLM"


def _embeddings(runtime: Runtime, used: set[str]) -> str:
    """Check that the embedding models that a run heard with are installed."""
    installed = {one.fingerprint for one in runtime.known_embeddings.values()}
    if lost := used - installed:
        raise ValueError(f"the run heard with embedding models {_short(lost)}, which are not installed")
    return f"embedding models {_short(used)}"


def _denoiser(runtime: Runtime, method: str, used: str) -> str:
    """Check that a denoiser, hashed from its files, is the one that the run used."""
    found = find_denoiser(runtime, method).fingerprint
    if found != used:
        raise ValueError(f"the run used {method} {used[:12]}, installed is {found[:12]}")
    return f"{method} {found[:12]}"


def _short(fingerprints: Iterable[str]) -> str:
    return ", ".join(sorted(fingerprint[:12] for fingerprint in fingerprints))


def _codes(runtime: Runtime, tokens: Sequence[TokenSample]) -> str:
    encoded: dict[str, Outcome] = {}
    for _, together in groupby(sorted((row.clip for row in tokens), key=lambda clip: clip.uri), _in_s3):
        clips = list(together)
        outcomes = encode_again(runtime, runtime.readable(clips[0].uri), clips)
        encoded |= zip((clip.uri for clip in clips), outcomes, strict=True)
    wrong = [row.clip.uri for row in tokens if not _has_codes(encoded[row.clip.uri], row.codes)]
    return _finding(len(tokens), "clips have the same codes as stored", wrong)


def _has_codes(outcome: Outcome, codes: tuple[tuple[int, ...], ...]) -> bool:
    return isinstance(outcome, TokenizedContent) and tuple(map(tuple, outcome.codes)) == codes


def _in_s3(clip: ClipToTokenize) -> bool:
    return is_s3(clip.uri)


def _answers(runtime: Runtime, run: RecordedRun, answers: Sequence[AnswerSample]) -> str:
    by_labeler: dict[str, list[AnswerSample]] = {}  # each label of a multi-label library has its own
    for row in answers:
        by_labeler.setdefault(f"{row.library} {row.labeler} {row.calibration}", []).append(row)
    wrong = [one for rows in by_labeler.values() for one in _answered_otherwise(runtime, run, rows)]
    tolerance = TOLERANCE[runtime.llm_dtype]
    return _finding(len(answers), f"clips have the same answers as stored, within {tolerance:g}", wrong)


def _answered_otherwise(runtime: Runtime, run: RecordedRun, answers: Sequence[AnswerSample]) -> list[str]:
    """Return the contents to which one labeler does not give the stored answer."""
    answered_by = StoredChoice(answers[0].labeler, answers[0].calibration, "", None, "run")
    setup = LabelingSetup(runtime, _request(LabelRequest, run, answers[0].library), answered_by)
    with session_scope(runtime.engine) as session:
        stored = get_token_sequences(session, runtime.codec_id, [row.content_sha256 for row in answers])
    codes = {content: clip_codes(tokens) for content, tokens in stored.items()}
    features = clip_features(runtime, codes)
    predictions = setup.predict([features[row.content_sha256] for row in answers])
    keys = [setup.work_key(row.content_sha256) for row in answers]
    if keys != [row.work_key for row in answers]:
        raise ValueError(WORK_KEY_CHANGED)
    return [
        row.content_sha256.hex()[:12]
        for row, now in zip(answers, predictions, strict=True)
        if not _same(row, now, TOLERANCE[runtime.llm_dtype])
    ]


def _events(runtime: Runtime, run: RecordedRun, events: Sequence[EventsSample]) -> str:
    heard_by = StoredChoice(events[0].labeler, None, "", None, "run")
    request = _request(LabelRequest, run, events[0].library)
    detection = EventDetection(LabelingSetup(runtime, request, heard_by))
    if [detection.work_key(row.content_sha256) for row in events] != [row.work_key for row in events]:
        raise ValueError(WORK_KEY_CHANGED)
    now = {one.content_sha256: one.events for one in detection.hear([row.content_sha256 for row in events])}
    wrong = [
        row.content_sha256.hex()[:12]
        for row in events
        if not _same_events(row.events, now.get(row.content_sha256, ()))
    ]
    return _finding(len(events), "clips have the same events as stored", wrong)


def _same_events(stored: Sequence[HeardEvent], now: Sequence[HeardEvent]) -> bool:
    return len(stored) == len(now) and all(
        replace(one, score=other.score) == other and abs(one.score - other.score) <= TOLERANCE["float32"]
        for one, other in zip(stored, now, strict=True)
    )


def _audio(runtime: Runtime, run: RecordedRun, audio: Sequence[AudioSample]) -> str:
    request = _request(AudioRequest, run, audio[0].library)
    by_method: dict[str, list[AudioSample]] = {}
    for row in audio:
        by_method.setdefault(row.method, []).append(row)
    findings = []
    for method, rows in by_method.items():
        generation = generation_for(runtime, rows[0].task, request, method)
        if [generation.work_key(_question(row)) for row in rows] != [row.work_key for row in rows]:
            raise ValueError(WORK_KEY_CHANGED)
        if isinstance(generation, Filtering):
            findings.append(_same_bytes(generation, rows))
        else:
            findings.append(_same_codes(generation, rows))
    return ", ".join(findings)


def _same_bytes(generation: Filtering, audio: Sequence[AudioSample]) -> str:
    wrong = []
    with TemporaryDirectory() as folder:
        for row in audio:
            [now] = generation.outcomes([_question(row)], Path(folder))
            if not isinstance(now, Filtered) or now.sha256 != row.sha256:
                wrong.append(row.work_key.hex()[:12])
    return _finding(len(audio), "answers have the same bytes as stored", wrong)


def _same_codes(generation: Generation[Any], audio: Sequence[AudioSample]) -> str:
    assert isinstance(generation, InContext)
    questions = [_question(row) for row in audio]
    codes: list[AudioCodes | None] = []
    for batch in in_batches(questions):
        outcomes = generation.outcomes(batch)
        codes += [None if isinstance(one, AudioRejected) else one.codes for one in outcomes]
    wrong = [
        row.work_key.hex()[:12]
        for row, now in zip(audio, codes, strict=True)
        if now is None or tuple(map(list, now)) != row.codes
    ]
    return _finding(len(audio), "answers have the same codes as stored", wrong)


def _question(row: AudioSample) -> Any:
    if row.content_sha256 is not None:
        return ClipQuestion(row.content_sha256)
    assert row.text is not None
    return TextQuestion(row.text)


Request = TypeVar("Request", LabelRequest, AudioRequest)


def _request(kind: type[Request], run: RecordedRun, library: str) -> Request:
    """Return the run's request for the library version that answered, since a bare name may mean another."""
    names = {field.name for field in fields(kind)}
    parameters = {name: value for name, value in run.parameters.items() if name in names}
    return kind(**(parameters | {"library": library}))


def _same(stored: AnswerSample, now: ClipLabel | AudioRejected, tolerance: float) -> bool:
    if isinstance(now, AudioRejected) or stored.probabilities.keys() != now.probabilities.keys():
        return False
    far = max(abs(stored.probabilities[label] - p) for label, p in now.probabilities.items())
    return far <= tolerance and (stored.label == now.label or now.margin <= tolerance)


def _files(runtime: Runtime, files: Digests) -> str:
    storage = runtime.storage(runtime.settings.storage_uri)
    wrong = find_damage(files, partial(_read_again, storage))
    if not wrong:
        return f"{len(files)} files have the same bytes as written"
    kinds = {kind: [uri for uri in wrong if wrong[uri] == kind] for kind in get_args(Damage)}
    raise ValueError(
        "; ".join(
            f"{len(uris)} of {len(files)} are {kind}: {_named(uris)}" for kind, uris in kinds.items() if uris
        )
    )


def _read_again(storage: Storage, uri: str) -> Stored | None:
    """Read an object instead of trusting the store's checksum."""
    if (listed := storage.find(uri)) is None:
        return None
    with storage.read(uri, listed.version_token, listed.size) as fetched:
        return Stored(uri, fetched.sha256, fetched.size)


def _finding(count: int, passed: str, wrong: Sequence[str]) -> str:
    if wrong:
        raise ValueError(f"{len(wrong)} of {count} differ: {_named(wrong)}")
    return f"{count} {passed}"


def _named(names: Sequence[str]) -> str:
    hidden = len(names) - MAX_NAMES_IN_FINDING
    return ", ".join(names[:MAX_NAMES_IN_FINDING]) + (f" and {hidden} more" if hidden > 0 else "")
