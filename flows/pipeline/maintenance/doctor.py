"""Checks of the installation: versions, database, storage, models and device."""

import os
import platform
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import requires, version
from tempfile import NamedTemporaryFile

import numpy as np
import soundfile
from packaging.requirements import Requirement
from sqlalchemy import func, select, text

from core.confinement.sandbox import confinement
from core.decoding.child_process.decoder import ClipDecoder
from core.decoding.pyav.sound import find_av
from db.analysts import open_gaps
from db.engine import UnfitDatabase, session_scope, unfitness
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.vendored import describe as describe_vendored
from flows.pipeline.nights.on_ray import describe_cluster
from flows.pipeline.runs.check import Check, check
from flows.pipeline.runtime.code_version import code_version
from flows.pipeline.runtime.language_model import LanguageModel
from flows.pipeline.runtime.resources import Runtime
from migrations.upgrade import head, wrong_schema

Examination = Callable[[Runtime], str]
CLOCK_SECONDS = 5
PROBE = "doctor/probe"


def examine(settings: Settings, further: Mapping[str, tuple[Examination, str]]) -> Iterator[Check]:
    """Yield the result of each check, those of this module and `further` ones."""
    runtime = Runtime(settings)
    try:
        for name, (examination, remedy) in {**EXAMINATIONS, **further}.items():
            yield check(name, partial(examination, runtime), remedy)
    finally:
        runtime.close()


def _versions(runtime: Runtime) -> str:
    """Check that the installed packages are those that the project requires."""
    declared = [Requirement(line) for line in requires("wordwave") or ()]
    needed = [one for one in declared if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [
        f"{one} is {version(one.name)}" for one in needed if not one.specifier.contains(version(one.name))
    ]
    if wrong:
        raise ValueError(f"{len(wrong)} packages do not have the required version: {', '.join(wrong)}")
    python = platform.python_version()
    return f"wordwave {code_version()} on Python {python}, {len(needed)} packages as required"


def _database(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        version = session.scalar(text("SHOW server_version"))
    if reason := unfitness(runtime.engine):
        raise UnfitDatabase(reason)
    where = "set" if runtime.settings.database_url else "embedded"
    return f"Postgres {version} ({where})"


def _clock(runtime: Runtime) -> str:
    """Compare the clock with the database's: days and leases depend on both."""
    with session_scope(runtime.engine) as session:
        there = session.scalars(select(func.clock_timestamp())).one()
    apart = abs((datetime.now(UTC) - there).total_seconds())
    if apart > CLOCK_SECONDS:
        raise ValueError(f"the database's clock is {apart:.0f} s away, more than {CLOCK_SECONDS}")
    return f"within {max(apart, 0.1):.1f} s of the database's"


def _schema(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        wrong = wrong_schema(session.connection())
    if wrong:
        raise ValueError(wrong)
    return f"at {head()}"


def _roles(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        role = session.scalar(text("SELECT current_user"))
        privileged = session.scalar(text("SELECT has_schema_privilege(current_user, 'public', 'CREATE')"))
    if privileged:
        raise ValueError(f"the flows write as {role}, which may change the schema")
    return f"the flows write as {role}"


def _analysts(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        gaps = open_gaps(session)
    if gaps:
        raise ValueError("; ".join(gaps))
    return "they read the views, and hold no locks, files or connections against others"


def _storage(runtime: Runtime) -> str:
    place = runtime.settings.storage_uri
    storage = runtime.storage(place)
    stored = storage.write(PROBE, os.urandom(16))  # one object, written over each time
    listed = next(iter(storage.list(stored.uri)))
    with storage.read(listed.uri, listed.version_token, listed.size) as fetched:
        if fetched.sha256 != stored.sha256:
            raise ValueError(f"{place} gave other bytes than were written")
    ignored = " and ".join(storage.ignored(PROBE))
    return f"{place} written, listed and read back{f'; the store ignores {ignored}' if ignored else ''}"


def _readable(runtime: Runtime) -> str:
    """Check that each place that flows may read can be listed."""
    roots = runtime.settings.read_roots
    for root in roots:
        try:
            next(runtime.storage(root).list(root), None)
        except Exception as error:
            raise ValueError(f"{root}: {error}") from error
    return f"{len(roots)} places can be listed" if roots else "nothing may be read: set WORDWAVE_READ_ROOTS"


def _codec(runtime: Runtime) -> str:
    codec = runtime.codec
    return f"{runtime.settings.codec}, fingerprint {codec.fingerprint[:12]}, {len(codec.words)} words"


def _llm(runtime: Runtime) -> str:
    if runtime.llm is None:
        return "none: labels come without an LLM"
    return _checked_fingerprint(runtime, runtime.llm)


def _audio_llm(runtime: Runtime) -> str:
    if runtime.audio_llm is None:
        return "none: nothing is answered with audio"
    if runtime.audio_llm is runtime.llm:
        return "the same"
    return _checked_fingerprint(runtime, runtime.audio_llm)


def _checked_fingerprint(runtime: Runtime, llm: LanguageModel) -> str:
    """Hash the files again, since one may change and keep its size and time."""
    found = llm.llama.fingerprint
    if found != llm.fingerprint:
        raise ValueError(f"its files hash to {found[:12]}, the stored fingerprint is {llm.fingerprint[:12]}")
    return f"{llm.name}, fingerprint {found[:12]}, {runtime.llm_dtype}"


def _embeddings(runtime: Runtime) -> str:
    """Each opens, which checks its files, names and shapes."""
    if not runtime.settings.embeddings:
        return "none: WORDWAVE_EMBEDDINGS names no directory"
    return "; ".join(
        f"{one.description.name}, fingerprint {one.fingerprint[:12]}, license {one.description.license}, "
        f"{one.description.dimensions} numbers, {len(one.description.classes)} classes"
        for one in runtime.embedders
    )


def _denoiser(runtime: Runtime) -> str:
    """Pass a second of silence through it, which checks its files."""
    if (denoiser := runtime.denoiser) is None:
        set_to_none = runtime.settings.denoiser is None
        return "none: " + ("WORDWAVE_DENOISER is none" if set_to_none else "wordwave[denoise] is missing")
    deque(denoiser.denoise([np.zeros(16_000, np.float32)]), maxlen=0)
    return f"{denoiser.name}, fingerprint {denoiser.fingerprint[:12]}, license {denoiser.license}"


def _judge(runtime: Runtime) -> str:
    """Load the judge of speech, which reads its files."""
    judge = runtime.whisper
    return f"{judge.name}, license MIT" if judge else "none: wordwave[judge] is missing"


def _ray(runtime: Runtime) -> str:
    """Connect to the cluster that works on nights, or start it."""
    if runtime.settings.ray is None:
        return "none: WORDWAVE_RAY is not set"
    return describe_cluster(runtime.settings)


def _device(runtime: Runtime) -> str:
    import torch

    if runtime.device.startswith("cuda"):
        return f"{runtime.device}, {torch.cuda.get_device_name(runtime.device)}"
    return f"{runtime.device}, {torch.get_num_threads()} threads"


def _decoder(_: Runtime) -> str:
    """Decode a clip in the sandbox that this kernel offers."""
    with NamedTemporaryFile(suffix=".wav") as file, ClipDecoder() as decoder:
        soundfile.write(file.name, np.sin(np.arange(16_000)), 16_000)
        for _block in decoder.open(file.name):
            pass
        assert decoder.pid
        walls = confinement(decoder.pid)
    states = ", ".join(
        f"{wall} {'on' if on else 'off (refused by this system)'}" for wall, on in walls.items()
    )
    av = find_av()
    libav = f"PyAV {av.__version__} (FFmpeg {av.ffmpeg_version_info})" if av else "no PyAV (wordwave[av])"
    return f"libsndfile {soundfile.__libsndfile_version__}, {libav} in a process of its own, {states}"


def _libraries(_: Runtime) -> str:
    """Describe the libraries that are compiled into wheels, which no audit of packages sees."""
    return describe_vendored()


EXAMINATIONS: dict[str, tuple[Examination, str]] = {
    "versions": (_versions, "install with requirements.lock, as make install does"),
    "database": (
        _database,
        "start it, or let WORDWAVE_DATABASE_URL name a UTF8 database of the primary server, itself or "
        "through a pool of sessions (unset: the embedded one)",
    ),
    "clock": (_clock, "let both machines follow a time server"),
    "schema": (_schema, "run wordwave migrate as the owner"),
    "roles": (_roles, "let WORDWAVE_DATABASE_URL name wordwave_writer (db/bootstrap.sql makes it)"),
    "analysts": (
        _analysts,
        "run db/bootstrap.sql again as an administrator, and REVOKE CONNECT FROM PUBLIC on other databases; "
        "what a managed Postgres refuses stays open to whoever has the analyst's password",
    ),
    "storage": (_storage, "check WORDWAVE_STORAGE_URI, its credentials and WORDWAVE_S3_ENDPOINT_URL"),
    "readable": (_readable, "check WORDWAVE_READ_ROOTS, and that these credentials may list and get there"),
    "decoder": (_decoder, "check that this user may start processes, and that 2 GiB of memory are free"),
    "libraries": (_libraries, "install with requirements.lock, as make install does"),
    "codec": (_codec, "let WORDWAVE_CODEC name a preset or a directory made by wordwave models convert"),
    "llm": (
        _llm,
        "let WORDWAVE_LLM name a Hugging Face LLAMA directory with its tokenizer; if "
        "its files were changed in place, remove fingerprints/ in WORDWAVE_HOME",
    ),
    "audio llm": (_audio_llm, "let WORDWAVE_GENERATION_LLM name such a directory, or none"),
    "embeddings": (
        _embeddings,
        "let WORDWAVE_EMBEDDINGS name directories made by wordwave models convert-embedding, and install "
        "wordwave[tagger]",
    ),
    "denoiser": (_denoiser, "install wordwave[denoise] again, or let WORDWAVE_DENOISER be none"),
    "judge of speech": (_judge, "install wordwave[judge] again"),
    "ray": (
        _ray,
        "let WORDWAVE_RAY name a cluster that runs and can be reached, and install wordwave[ray] with that "
        "cluster's version of Ray, or unset it",
    ),
    "device": (_device, "set WORDWAVE_DEVICE to cpu, or install a torch that knows the GPU"),
}
