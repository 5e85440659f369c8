"""The commands and queries of the documentation run, page by page, in a folder that has what they name."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.embedded import server as embedded
from flows.cli.demo.audio_clips import write_audio_clips
from flows.cli.torture.sounds import PITCHES
from tests.docs.blocks import ROOT, Block, blocks, statements
from tests.e2e.processes import descendants, lives
from tests.e2e.service import free_port
from tests.e2e.world import tone
from tests.fixtures_s3 import S3Bucket

PAGES = ("README", "docs/labeling", "docs/generation", "docs/analysts", "docs/models", "docs/operations")
"""In this order: a page may use the libraries of those before it."""
DAYS = ("2026-11-21", "2026-11-22")
BUCKETS = ("calls", "porch", "results")
START_SECONDS, END_SECONDS = 240.0, 60.0
READY = "Ready"
EPISODES = 20
"""Of an evaluation, which asks 600 by itself."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]


class Reader:
    """Somebody who types the blocks of the pages into one shell after the other."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.environment = {name: value for name, value in os.environ.items() if name != "WORDWAVE_LLM"} | {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def follow(self, page: str) -> None:
        """Run the blocks of a page; what one exports is there for the next."""
        kept = self.environment
        for block in filter(lambda block: block.is_run, blocks(ROOT / f"{page}.md")):
            if block.language == "sh":
                self.type(block)
            elif block.language == "sql":
                for statement in statements(block.text):
                    self.run(["wordwave", "sql", statement])
            elif block.language == "python":
                self.run([sys.executable, "-c", block.text])
        self.environment = kept

    def type(self, block: Block) -> None:
        text = block.text.replace("wordwave up", f"wordwave up --port {self.port}")
        text = text.replace(":4200", f":{self.port}")
        text = text.replace("wordwave evaluate", f"wordwave evaluate --episodes {EPISODES}")
        if block.runs_until_stopped:
            self.start_and_stop(text)
            return
        exported = self.folder / "exported"
        self.run(["bash", "-euo", "pipefail", "-c", f"{text}\nenv -0 > {exported}"])
        pairs = exported.read_bytes().decode().rstrip("\0").split("\0")
        self.environment = dict(pair.split("=", 1) for pair in pairs)

    def run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"

    def start_and_stop(self, text: str) -> None:
        """Run a service until it says that it is ready, then end it by SIGINT as Ctrl-C does."""
        log = self.folder / "up.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while READY not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            os.killpg(process.pid, signal.SIGINT)
            process.wait(END_SECONDS)
        finally:
            for pid in filter(lives, [process.pid, *descendants(process.pid)]):
                os.kill(pid, signal.SIGKILL)


def write_files(folder: Path) -> None:
    """Write every file that a page names."""
    made = write_audio_clips(folder, seed=1)
    for name, manifest in {"noises": made.sounds, "street": made.pairs}.items():
        shutil.copy(manifest, folder / f"{name}.jsonl")
    (folder / "clips").mkdir()
    for number in range(3):
        (folder / "clips" / f"{number}.wav").write_bytes(tone(200 + 900 * number))
    (folder / "clip.flac").write_bytes(next((folder / "noisy").iterdir()).read_bytes())
    write_rows(folder / "library.jsonl", labeled(folder, takes=2))
    write_rows(folder / "library-2.jsonl", labeled(folder, takes=3))
    write_rows(folder / "labeled.jsonl", labeled(folder, takes=4, labels=7, step=1.6))


def labeled(folder: Path, takes: int, labels: int = 2, step: float = 15.0) -> Iterator[Mapping[str, str]]:
    for label in range(labels):
        for take in range(takes):
            name = f"tone-{label}-{take}-{step}.wav"
            (folder / name).write_bytes(tone(200 * step**label + 3 * take, 1.0))
            yield {"path": name, "label": f"tone {label}", "group": f"{label} {take}"}


def write_rows(manifest: Path, rows: Iterable[Mapping[str, str]]) -> None:
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))


@contextmanager
def buckets(s3: S3Bucket) -> Iterator[None]:
    """Make the buckets that the pages name, with clips of two days."""
    for bucket in BUCKETS:
        s3.client.create_bucket(Bucket=bucket)
    for day in DAYS:
        for number, pitch in enumerate(PITCHES.values()):
            s3.client.put_object(Bucket="calls", Key=f"{day}/{number}.wav", Body=tone(pitch + number))
            s3.client.put_object(Bucket="porch", Key=f"{day}/{number}.wav", Body=tone(pitch - number))
    yield
    for bucket in BUCKETS:
        for listed in s3.client.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.client.delete_object(Bucket=bucket, Key=listed["Key"])
        s3.client.delete_bucket(Bucket=bucket)


def test_each_command_and_query_of_each_page_runs(s3: S3Bucket, tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    home.chmod(0o711)
    write_files(tmp_path)
    reader = Reader(home, tmp_path)
    try:
        with buckets(s3):
            for page in PAGES:
                if page == "docs/operations":
                    reader.run(["wordwave", "library", "import", "birds", "library.jsonl"])
                reader.follow(page)
    finally:
        embedded.stop(home / ".wordwave")
        shutil.rmtree(home)
