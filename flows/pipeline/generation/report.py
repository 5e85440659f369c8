"""Reports of runs that answered with audio, for people and programs: one row per question."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from core.errors import AudioRejected
from db.generated import StoredAudio
from flows.pipeline.generation.record import AudioAnswer, Record
from flows.pipeline.runtime.printable import printable
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import open_storage

MAX_NAME_LENGTH = 60
"""Characters of the question in the name of a copy."""


def copied_audio(runtime: Runtime, record: Record, place: str) -> dict[bytes, str]:
    """Copy the audio of a run to a place under readable names, and return the uris by work key."""
    target = open_storage(place, runtime.settings.model_copy(update={"storage_uri": place}))
    copies = {}
    for _, answer, audio in record.with_audio:
        storage = runtime.storage(audio.uri)
        if (listed := storage.find(audio.uri)) is None:
            raise AudioRejected("gone", f"{audio.uri} is missing: repeat the request, which writes it again")
        with storage.read(audio.uri, listed.version_token, listed.size) as fetched:
            copies[audio.work_key] = target.write(_name(answer, audio), fetched.path).uri
    return copies


def _name(answer: AudioAnswer, audio: StoredAudio) -> str:
    """Return a file name such as one-plus-one-0f3a91c2.wav."""
    question = answer.name if audio.text else PurePosixPath(answer.name).stem
    plain = re.sub(r"[^A-Za-z0-9]+", "-", question).strip("-")[:MAX_NAME_LENGTH] or "audio"
    return f"{plain}-{audio.work_key.hex()[:8]}.{audio.uri.rpartition('.')[2]}"


def json_rows(record: Record, copies: Mapping[bytes, str]) -> Iterator[dict[str, object]]:
    """Yield rows for JSON: asked, status and uri, then duration, metrics and seed, or the reason."""
    for answer in record.answers:
        row: dict[str, object] = {"asked": answer.name, "status": answer.status, "uri": None}
        if audio := answer.audio:
            row["uri"] = copies.get(audio.work_key, audio.uri)
            row |= {"duration": audio.duration, "metrics": dict(audio.metrics), "seed": audio.seed}
            row["method"] = audio.method
        if answer.reason:
            row["reason"] = answer.reason
        yield row


def table_lines(record: Record, copies: Mapping[bytes, str]) -> Iterator[str]:
    """Yield lines for people: the uri of the audio or the reason why there is none, and the question."""
    for row in json_rows(record, copies):
        status = f"{row['status']}: {row['reason']}" if "reason" in row else row["status"]
        yield printable(f"{row['uri'] or status}  {row['asked']}")
