"""Libraries of demonstrations, made from manifests of clips and their answers as frozen versions."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from core.prompts.demonstrations import label_set
from core.prompts.limits import MAX_INSTRUCTION_CHARACTERS
from db.clips import TOKENIZE_STAGE, add_clips, clips_with_tokens, count_clips
from db.engine import session_scope
from db.libraries import LibraryDemonstration, LibraryVersion, import_library
from db.library_names import NAME
from db.quarantine import open_quarantine
from db.runs import RunClaim
from db.tokens import get_token_sequences
from flows.pipeline.clips.tokenize_clips import tokenize_uris
from flows.pipeline.clips.tombstones import Tombstones
from flows.pipeline.files.label_studio import is_export
from flows.pipeline.libraries.annotated import annotated_rows
from flows.pipeline.libraries.by_label import (
    MULTI_LABEL,
    check_labels,
    import_by_label,
    labels_stored,
)
from flows.pipeline.libraries.folders import folder_rows, is_folder
from flows.pipeline.libraries.library_option import NAME_CHARACTERS
from flows.pipeline.libraries.manifest import (
    ClipRow,
    LabeledClipRow,
    LabelsClipRow,
    NoisyClip,
    TextClip,
    read_labels,
    read_manifest,
    read_text,
    resolve,
    warn_of_labels_alike,
)
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

LibraryTask = Literal["label", "speech", "sound", "denoise"]
ROWS: Mapping[LibraryTask, type[ClipRow]] = {
    "label": LabeledClipRow,
    "speech": TextClip,
    "sound": TextClip,
    "denoise": NoisyClip,
}
"""The row of a manifest, by task."""

FORGOTTEN_CLIPS = "{} clips of the manifest were forgotten (wordwave forget): take their rows out"
SEVERAL_ANSWERS: tuple[LibraryTask, ...] = ("sound",)
"""Tasks in which a recording may have several answers. It has only one label, one text and one clean form."""


def import_manifest(
    runtime: Runtime,
    name: str,
    manifest: str,
    task: LibraryTask,
    instruction: str | None = None,
    *,
    promote: bool = False,
    flow_run_id: str | None = None,
) -> tuple[LibraryVersion, OpenRun]:
    """Make a library version from a manifest. The first version, or a promoted one, is put into use."""
    parameters = {
        "manifest": canonical(manifest),
        "task": task,
        "instruction": instruction,
        "promote": promote,
    }
    with recorded_run(runtime, "build-library", name, parameters, flow_run_id=flow_run_id) as run:
        version = build_library(runtime, name, manifest, task, run.claim, instruction, promote=promote)
        run.count("library", Counts(demonstrations=len(version.demonstrations)))
    return version, run


def build_library(
    runtime: Runtime,
    name: str,
    manifest: str,
    task: LibraryTask,
    run: RunClaim,
    instruction: str | None = None,
    *,
    promote: bool = False,
) -> LibraryVersion:
    """Tokenize the clips of a manifest (JSONL, CSV), or of folders named by label, and freeze them in order.

    The first version of a library is put into use, a later one only if it is promoted. Duplicate rows count
    once. Rows with `labels` make a multi-label library, and the library of each label beside it. Raises
    ManifestError if a row is wrong or a clip is missing or quarantined, and PromptError for labels that do
    not fit into a prompt.
    """
    if not re.fullmatch(NAME, name):
        raise ManifestError(f"{name!r} is not a library name: use {NAME_CHARACTERS}")
    check_instruction(task, instruction)
    rows = _read_rows(runtime, manifest, task)
    uris = dict.fromkeys(uri for row in rows.values() for uri in _uris(canonical(manifest), row))
    _ingest_rows(runtime, list(uris), run)
    # with windows, so that a night with events need not read where only the import could
    tokenize_uris(runtime, set(uris), run, window_models=runtime.embedding_model_ids)
    contents = _contents(runtime, list(uris))
    by_line = {line: _demonstration(canonical(manifest), row, contents) for line, row in rows.items()}
    demonstrations = _distinct(task, by_line)
    is_multi_label = any(isinstance(row, LabelsClipRow) for row in rows.values())
    stored_task = MULTI_LABEL if is_multi_label else task
    _check(runtime, name, stored_task, demonstrations)
    with run_session(runtime, run) as session:
        version = import_library(session, name, stored_task, instruction, demonstrations, promote=promote)
        if is_multi_label:
            import_by_label(session, version)
    return version


def _read_rows(runtime: Runtime, manifest: str, task: LibraryTask) -> Mapping[int, ClipRow]:
    """Return the rows of a manifest, the clips of a folder whose folders are labels, or annotated clips."""
    text = read_text(runtime, manifest) if manifest.lower().endswith(".json") else ""
    if not is_folder(manifest) and not is_export(text):
        if task == "label":
            return read_labels(runtime, manifest)
        return read_manifest(runtime, manifest, ROWS[task])
    if task != "label":
        raise ManifestError(f"{manifest} gives labels, and no answers for {task}: name a manifest")
    return folder_rows(runtime, manifest) if is_folder(manifest) else annotated_rows(manifest, text)


def check_instruction(task: LibraryTask, instruction: str | None) -> None:
    """Raise ManifestError for a sentence that cannot begin the prompts of a task."""
    if instruction is None:
        return
    if task == "label":
        raise ManifestError("a prompt for labels begins by naming them: give no instruction")
    if "###" in instruction or not instruction.strip() or not instruction.isprintable():
        raise ManifestError("an instruction is one line of text without '###'")
    if len(instruction) > MAX_INSTRUCTION_CHARACTERS:
        raise ManifestError(
            f"the instruction has {len(instruction)} characters, the limit is {MAX_INSTRUCTION_CHARACTERS}: "
            "shorten it"
        )


def _uris(manifest: str, row: ClipRow) -> list[str]:
    paths = [row.path, row.target] if isinstance(row, NoisyClip) else [row.path]
    return [resolve(manifest, path) for path in paths]


def _demonstration(manifest: str, row: ClipRow, contents: Mapping[str, bytes]) -> LibraryDemonstration:
    uri = resolve(manifest, row.path)
    if isinstance(row, NoisyClip):
        target = resolve(manifest, row.target)
        return LibraryDemonstration(contents[uri], None, uri, contents[target], target)
    return LibraryDemonstration(contents[uri], _answer(row), uri)


def _answer(row: ClipRow) -> str:
    if isinstance(row, LabelsClipRow):
        return labels_stored(row.labels)
    assert isinstance(row, LabeledClipRow | TextClip)
    return row.label if isinstance(row, LabeledClipRow) else row.text


def _distinct(task: LibraryTask, by_line: Mapping[int, LibraryDemonstration]) -> list[LibraryDemonstration]:
    """Return the demonstrations, each once. Raises ManifestError for one recording with two answers."""
    first: dict[bytes, int] = {}
    distinct: dict[tuple[bytes, str], LibraryDemonstration] = {}
    for line, row in by_line.items():
        before = first.setdefault(row.content_sha256, line)
        if row.answer != by_line[before].answer and task not in SEVERAL_ANSWERS:
            raise ManifestError(_contradiction(before, line, by_line))
        distinct.setdefault((row.content_sha256, row.answer), row)
    return list(distinct.values())


def _contradiction(first: int, second: int, by_line: Mapping[int, LibraryDemonstration]) -> str:
    rows = by_line[first], by_line[second]
    answers = " and ".join(f"{row.label or row.target_uri!r} ({row.uri})" for row in rows)
    return f"lines {first} and {second} give one recording two answers, {answers}: keep the row that is right"


def _check(runtime: Runtime, name: str, task: str, demonstrations: Sequence[LibraryDemonstration]) -> None:
    if task == MULTI_LABEL:
        warn_of_labels_alike(check_labels(name, demonstrations))
    elif task == "label":
        labels = label_set(sorted({row.label_or_text for row in demonstrations}))
        warn_of_labels_alike(labels)
    elif task == "denoise":
        _check_lengths(runtime, demonstrations)


def _check_lengths(runtime: Runtime, pairs: Sequence[LibraryDemonstration]) -> None:
    """Check that a noisy clip and its clean one, which are shown in the same window, are equally long."""
    wanted = {content for pair in pairs for content in pair.contents.values()}
    with session_scope(runtime.engine) as session:
        stored = get_token_sequences(session, runtime.codec_id, wanted)
    for pair in pairs:
        assert pair.target_content_sha256
        noisy, clean = stored[pair.content_sha256], stored[pair.target_content_sha256]
        if len(noisy.levels) != len(clean.levels):
            raise ManifestError(
                f"{pair.uri} lasts {noisy.duration:.2f} s and its target {pair.target_uri} "
                f"{clean.duration:.2f} s: they have to be the same recording, with its noise and without"
            )


def _ingest_rows(runtime: Runtime, uris: Sequence[str], run: RunClaim) -> None:
    """Record the clips of the rows. Raises ManifestError for a missing object."""
    found = {uri: runtime.storage(uri).find(uri) for uri in sorted(set(uris))}
    if missing := [uri for uri, listed in found.items() if listed is None]:
        raise ManifestError(f"{len(missing)} clips of the manifest do not exist: {', '.join(missing[:5])}")
    with run_session(runtime, run) as session:
        listed = [one for one in found.values() if one]
        if forgotten := Tombstones(runtime.settings).versions(session, listed):
            raise ManifestError(FORGOTTEN_CLIPS.format(len(forgotten)))
        add_clips(session, listed, set(uris))


def _contents(runtime: Runtime, uris: Sequence[str]) -> dict[str, bytes]:
    with session_scope(runtime.engine) as session:
        rejected = open_quarantine(session, set(uris), TOKENIZE_STAGE)
        clips = clips_with_tokens(session, set(uris), runtime.codec_id)
        known = count_clips(session, set(uris))
    if rejected:
        reasons = "; ".join(f"{row.uri}: {row.reason}, {row.message}" for row in rejected[:5])
        raise ManifestError(f"{len(rejected)} clips of the manifest cannot be used: {reasons}")
    if forgotten := len(set(uris)) - known:  # copies of what was forgotten are dropped when they are read
        raise ManifestError(FORGOTTEN_CLIPS.format(forgotten))
    return {clip.uri: clip.content_sha256 for clip in clips}
