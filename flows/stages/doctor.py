"""Is everything in place? Each check says what it found and, where it failed, what to do."""

import os
from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import text

from db.engine import session_scope
from flows.runtime import Runtime
from flows.settings import Settings
from flows.stages.check import Check, check
from migrations.upgrade import head

Examination = Callable[[Runtime], str]


def examine(settings: Settings) -> Iterator[Check]:
    """Database, schema, roles, storage, codec, LLM and device, one after another; none stops the others."""
    runtime = Runtime(settings)
    try:
        for name, (examination, remedy) in EXAMINATIONS.items():
            yield check(name, partial(examination, runtime), remedy)
    finally:
        runtime.close()


def _database(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        version = session.scalar(text("SHOW server_version"))
    where = "set" if runtime.settings.database_url else "embedded"
    return f"Postgres {version} ({where})"


def _schema(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        revision = session.scalar(text("SELECT version_num FROM alembic_version"))
    if revision != head():
        raise ValueError(f"the schema is at {revision}, this version needs {head()}")
    return f"at {revision}"


def _roles(runtime: Runtime) -> str:
    with session_scope(runtime.engine) as session:
        role = session.scalar(text("SELECT current_user"))
        privileged = session.scalar(text("SELECT has_schema_privilege(current_user, 'public', 'CREATE')"))
    if privileged:
        raise ValueError(f"the flows write as {role}, which may change the schema")
    return f"the flows write as {role}"


def _storage(runtime: Runtime) -> str:
    place = runtime.settings.storage_uri
    storage = runtime.storage(place)
    stored = storage.write("doctor/probe", os.urandom(16))  # one object, written over each time
    listed = next(iter(storage.list(stored.uri)))
    with storage.read(listed.uri, listed.version_token) as fetched:
        if fetched.sha256 != stored.sha256:
            raise ValueError(f"{place} gave other bytes than were written")
    return f"{place} written, listed and read back"


def _codec(runtime: Runtime) -> str:
    codec = runtime.codec
    return f"{runtime.settings.codec}, fingerprint {codec.fingerprint[:12]}, {len(codec.words)} words"


def _llm(runtime: Runtime) -> str:
    if runtime.llama is None:
        return "none: labels come from nearest neighbour on tokens"
    return f"{runtime.settings.llm}, fingerprint {str(runtime.llm_fingerprint)[:12]}, {runtime.llm_dtype}"


def _device(runtime: Runtime) -> str:
    import torch

    if runtime.device.startswith("cuda"):
        return f"{runtime.device}, {torch.cuda.get_device_name(runtime.device)}"
    return f"{runtime.device}, {torch.get_num_threads()} threads"


EXAMINATIONS: dict[str, tuple[Examination, str]] = {
    "database": (_database, "start it, or check WORDWAVE_DATABASE_URL (unset: the embedded one)"),
    "schema": (_schema, "run wordwave migrate as the owner"),
    "roles": (_roles, "let WORDWAVE_DATABASE_URL name wordwave_writer (db/bootstrap.sql makes it)"),
    "storage": (_storage, "check WORDWAVE_STORAGE_URI, its credentials and WORDWAVE_S3_ENDPOINT_URL"),
    "codec": (_codec, "let WORDWAVE_CODEC name a preset or a directory made by wordwave models convert"),
    "llm": (_llm, "let WORDWAVE_LLM name a Hugging Face LLAMA directory with its tokenizer.model"),
    "device": (_device, "set WORDWAVE_DEVICE to cpu, or install a torch that knows the GPU"),
}
