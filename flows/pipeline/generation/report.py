"""What a person or a program reads of a run that answered with audio: one row for each thing asked."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from core.errors import AudioRejected
from db.generated import StoredAudio
from flows.pipeline.generation.record import AudioAnswer, Record
from flows.pipeline.runtime.printable import printable
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import open_storage

LONGEST_NAME = 60
"""Characters of what was asked, in the name of a copy."""


def copied_audio(runtime: Runtime, record: Record, place: str) -> dict[bytes, str]:
    """Copies the files of a run to a place, under names that say what was asked; their uris by work key."""
    target = open_storage(place, runtime.settings.model_copy(update={"storage_uri": place}))
    copies = {}
    for _, answer, audio in record.heard:
        storage = runtime.storage(audio.uri)
        if (listed := storage.find(audio.uri)) is None:
            raise AudioRejected("gone", f"{audio.uri} is not there: ask again, and it is written again")
        with storage.read(audio.uri, listed.version_token, listed.size) as fetched:
            copies[audio.work_key] = target.write(_name(answer, audio), fetched.path).uri
    return copies


def _name(answer: AudioAnswer, audio: StoredAudio) -> str:
    """Such as one-plus-one-0f3a91c2.wav."""
    asked = answer.name if audio.text else PurePosixPath(answer.name).stem
    plain = re.sub(r"[^A-Za-z0-9]+", "-", asked).strip("-")[:LONGEST_NAME] or "audio"
    return f"{plain}-{audio.work_key.hex()[:8]}.{audio.uri.rpartition('.')[2]}"


def json_rows(record: Record, copies: Mapping[bytes, str]) -> Iterator[dict[str, object]]:
    """Rows of the JSON form: asked, status, uri of the audio, then what explains it."""
    for answer in record.answers:
        row: dict[str, object] = {"asked": answer.name, "status": answer.status, "uri": None}
        if audio := answer.audio:
            row["uri"] = copies.get(audio.work_key, audio.uri)
            row |= {"duration": audio.duration, "metrics": dict(audio.metrics), "seed": audio.seed}
        if answer.reason:
            row["reason"] = answer.reason
        yield row


def table_lines(record: Record, copies: Mapping[bytes, str]) -> Iterator[str]:
    """The same for people: the uri of the audio, or why there is none, and what was asked."""
    for row in json_rows(record, copies):
        status = f"{row['status']}: {row['reason']}" if "reason" in row else row["status"]
        yield printable(f"{row['uri'] or status}  {row['asked']}")
