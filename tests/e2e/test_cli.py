"""The command line as people use it: processes of their own, an embedded Postgres, files in folders."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.embedded import server as embedded
from flows.pipeline.storage.uris import file_path, file_uri
from tests.e2e.world import tone
from tests.flows.pipeline.labeling.test_label import write_llama

WORDWAVE = Path(sys.executable).with_name("wordwave")
CLIPS = {
    "b/low.wav": tone(210),
    "b.wav": tone(2900),
    'a "quoted" naïve\nname.wav': tone(190),
    "cut.wav": tone(400)[:-400],
    "notes.txt": b"no audio",
}


@dataclass(frozen=True)
class Desk:
    """Someone's machine: a home, clips and a library."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    @property
    def manifest(self) -> Path:
        return self.folder / "library" / "sounds.jsonl"

    def run(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command and what it prints; the environment sets the home, these variables and nothing else."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "OMP_NUM_THREADS"}}
        environment = kept | {"WORDWAVE_HOME": str(self.home), "HOME": str(self.folder)} | variables
        command = [str(WORDWAVE), *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def label(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run("label", self.clips, "--format", "json", *options)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """A desk with an imported library, in a folder whose path is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    folder.chmod(0o711)  # Postgres may run as another account
    desk = Desk(folder)
    try:
        desk.home.mkdir(mode=0o711)
        write(desk.clips, CLIPS)
        write(desk.manifest.parent, {"low.wav": tone(200), "high.wav": tone(3000)})
        write_manifest(desk.manifest, {"low.wav": "low", "high.wav": "high"})
        yield desk
        down = desk.run("down")
        assert (down.returncode, down.stdout, down.stderr) == (0, "", "stopped\n")
        assert not embedded.stop(desk.home)
    finally:
        embedded.stop(desk.home)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def library(desk: Desk) -> str:
    """The library after two imports, which make one version."""
    first, second = (desk.run("library", "import", "sounds", desk.manifest) for _ in range(2))
    said = first.stderr.splitlines()
    assert said[:2] == [
        "sounds@1: 2 clips, 2 labels",
        "sounds@1 is in use: sounds without a version means it",
    ]
    assert said[2].startswith("it fits: prompts take at most ")
    assert (first.returncode, len(said)) == (0, 3)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert json.loads(first.stdout) == {"library": "sounds", "version": 1}
    return "sounds"


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_manifest(manifest: Path, labels: dict[str, str]) -> None:
    rows = [json.dumps({"path": path, "label": label}) for path, label in labels.items()]
    manifest.write_text("\n".join(rows) + "\n")


def test_a_second_version_is_used_when_it_is_told_to_be(desk: Desk, library: str) -> None:
    for name, labels in {"first": ["low", "high"], "second": ["deep", "shrill"]}.items():
        write_manifest(
            desk.folder / f"library/{name}.jsonl", dict(zip(["low.wav", "high.wav"], labels, strict=True))
        )
        made = desk.run("library", "import", "pair", desk.folder / f"library/{name}.jsonl")
    assert "pair@1 stays in use: wordwave library use pair@2" in made.stderr
    assert "labels no longer known: high, low" in made.stderr
    assert desk.run("library", "diff", "pair@2").stdout.startswith("compared with pair@1: 0 clips added")
    labeled = desk.label("--library", "pair")
    assert {json.loads(line)["label"] for line in labeled.stdout.splitlines()} <= {"low", "high", None}
    used = desk.run("library", "use", "pair@2")
    assert json.loads(used.stdout) == {"library": "pair", "version": 2}
    listed = [line.split()[:3] for line in desk.run("library", "list").stdout.splitlines() if "pair" in line]
    assert listed == [["pair@2", "in", "use"], ["pair@1", "label", "2"]]
    shown = desk.run("library", "show", "pair").stdout
    assert "pair@2 is in use" in shown
    assert "     1  deep" in shown


def test_a_backfill_says_what_became_of_each_day(desk: Desk, library: str) -> None:
    write(desk.folder / "nights", {f"2026-11-0{day}/a.wav": tone(200 + day) for day in (1, 2)})
    days = ["--first-day", "2026-11-01", "--last-day", "2026-11-02"]
    command = ["backfill", f"{desk.folder}/nights/{{day}}", "--library", library, *days]
    first, second = desk.run(*command), desk.run(*command)
    assert first.stdout == "2026-11-01  done\n2026-11-02  done\n", first.stderr
    assert second.stdout == "2026-11-01  nothing missing\n2026-11-02  nothing missing\n", second.stderr


def test_a_place_without_clips_is_said_and_fails(desk: Desk, library: str) -> None:
    (desk.folder / "nothing/2026-11-08").mkdir(parents=True)
    labeled = desk.run("label", desk.folder / "nothing", "--library", library, "--format", "json")
    assert (labeled.returncode, labeled.stdout) == (1, "")
    assert labeled.stderr.startswith("Error: no clips: none are listed in ")
    days = ["--first-day", "2026-11-08", "--last-day", "2026-11-08"]
    command = ["backfill", f"{desk.folder}/nothing/{{day}}", "--library", library, *days]
    failed, allowed = desk.run(*command), desk.run(*command, "--least-clips", "0")
    assert (failed.returncode, failed.stdout) == (1, "2026-11-08  no clips\n")
    assert "Error: 1 of 1 days have no clips" in failed.stderr
    assert (allowed.returncode, allowed.stdout) == (0, "2026-11-08  no clips\n")


def test_bounds_of_a_place_are_set_shown_and_held(desk: Desk, library: str) -> None:
    folder = desk.folder / "doubts"
    write(folder, {"2026-11-01/a.wav": tone(205), "2026-11-01/cut.wav": tone(405)[:-400]})
    set_first = desk.run("watch", f"{folder}/{{day}}", "--max-quarantined", "0.2")
    assert json.loads(set_first.stdout)["max_quarantined"] == 0.2, set_first.stderr
    assert json.loads(desk.run("watch", f"{folder}/{{day}}").stdout)["max_quarantined"] == 0.2
    days = ["--first-day", "2026-11-01", "--last-day", "2026-11-01"]
    filled = desk.run("backfill", f"{folder}/{{day}}", "--library", library, *days)
    assert (filled.returncode, filled.stdout) == (1, "2026-11-01  doubtful\n")
    assert "1 of 2 clips are quarantined (50%, at most 20%)" in filled.stderr
    labeled = desk.run("label", folder / "2026-11-01", "--library", library)
    assert (labeled.returncode, labeled.stderr) == (
        0,
        "doubtful: 1 of 2 clips are quarantined (50%, at most 20%)\n",
    )


def test_label_prints_one_object_per_clip_in_listing_order_and_nothing_else(desk: Desk, library: str) -> None:
    labeled = desk.label("--library", library)
    assert labeled.returncode == 0, labeled.stderr
    rows = [json.loads(line) for line in labeled.stdout.splitlines()]
    assert [row["uri"] for row in rows] == sorted(file_uri(desk.clips / name) for name in CLIPS)
    statuses = {Path(row["uri"]).name.split("%")[0]: row["status"] for row in rows}
    assert statuses == {
        "a": "labeled",
        "b.wav": "labeled",
        "cut.wav": "quarantined",
        "low.wav": "labeled",
        "notes.txt": "quarantined",
    }
    assert [row["label"] for row in rows] == ["low", "high", "low", None, None]
    for row in rows:
        if row["status"] == "quarantined":
            assert (row["label"], row["probability"], row["margin"]) == (None, None, None)
        else:
            assert 0.5 <= row["probability"] <= 1
            assert 0 <= row["margin"] <= 1
    assert [row.get("reason") for row in rows] == [None, None, None, "truncated", "unsupported"]
    again = desk.label("--library", f"{library}@1", "--min-margin", "1")
    assert again.stdout == labeled.stdout.replace('"labeled"', '"uncertain"')


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The packages that a command imported, as PYTHONPROFILEIMPORTTIME lists them."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("labeler", ["default", "auto"])
def test_a_second_night_finds_all_done_without_a_model_or_what_loads_one(
    desk: Desk, library: str, labeler: str
) -> None:
    write(desk.folder / "calls", {"low.wav": tone(220), "high.wav": tone(2800)})
    night = ["label", desk.folder / "calls", "--library", library, "--labeler", labeler]
    first = desk.run(*night)
    assert first.returncode == 0, first.stderr
    second = desk.run(*night, PYTHONPROFILEIMPORTTIME="1")
    assert second.stdout == first.stdout
    packages = imported(second)
    assert "sqlalchemy" in packages
    assert not packages & {"torch", "torchaudio", "transformers", "prefect", "boto3", "pyarrow"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sound", "there is no library sound: did you mean sounds?"),
        ("sounds@7", "library sounds has no version 7: its versions are 1 to 1"),
        ("sounds@new", "'sounds@new' is not a library name: write NAME or NAME@VERSION"),
    ],
)
def test_an_unknown_library_is_an_error_of_one_line(desk: Desk, library: str, name: str, said: str) -> None:
    refused = desk.label("--library", name)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: {said}\n"


def test_a_folder_that_is_not_there_is_an_error_of_one_line(desk: Desk, library: str) -> None:
    refused = desk.run("label", desk.folder / "clisp", "--library", library)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"Error: {str(desk.folder / 'clisp')!r} does not exist: is it mounted?\n"


def test_a_row_outside_of_the_manifests_folder_is_refused_until_it_is_allowed(desk: Desk) -> None:
    write(desk.folder / "elsewhere", {"high.wav": tone(3000)})
    manifest = desk.manifest.parent / "outside.jsonl"
    write_manifest(manifest, {"low.wav": "low", "../elsewhere/high.wav": "high"})
    refused = desk.run("library", "import", "outside", manifest)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "elsewhere/high.wav' may not be read" in refused.stderr
    assert "Traceback" not in refused.stderr
    allowed = desk.run("library", "import", "outside", manifest, "--allow", desk.folder / "elsewhere")
    assert json.loads(allowed.stdout) == {"library": "outside", "version": 1}


def test_evaluate_prints_a_table_and_keeps_json(desk: Desk) -> None:
    folder = desk.folder / "labeled"
    labels = {f"{label}{n}.wav": label for label in ("low", "high") for n in range(3)}
    hertz = {"low": 200, "high": 3000}
    write(folder, {name: tone(hertz[label] + int(name[-5])) for name, label in labels.items()})
    write_manifest(folder / "labeled.jsonl", labels)
    asked = ("evaluate", folder / "labeled.jsonl", "--episodes", "20", "--paper", "bird-sounds")
    printed = desk.run(*asked, "--output", desk.folder / "figures.json")
    assert printed.returncode == 0, printed.stderr
    assert printed.stderr.startswith("kept: file://")
    words, table = printed.stdout.split("Table 3 of the paper", 1)
    assert words.startswith("2w1s: mini-llama answered 100.0% of 20 questions right")
    heading, _, figures, *_ = table.splitlines()
    assert heading.startswith(", bird-sounds: 2-way 1-shot")
    assert figures.split()[-2:] == ["100.0", "50.0"]
    kept = json.loads((desk.folder / "figures.json").read_text())
    assert kept["scores"]["nearest tokens"][0]["accuracy"] == 1
    as_json = json.loads(desk.run(*asked, "--format", "json").stdout)
    assert as_json["scores"] == kept["scores"]


@pytest.fixture(scope="module")
def spoken(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries for speech and denoising; the directory of an LLM that answers by them, without meaning."""
    folder = desk.folder / "spoken"
    write(folder, {"one.wav": tone(300, 0.72), "two.wav": tone(900, 0.72), "noisy.wav": tone(410, 0.72)})
    texts = [{"path": f"{text}.wav", "text": text} for text in ("one", "two")]
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    (folder / "pairs.jsonl").write_text(json.dumps({"path": "noisy.wav", "target": "one.wav"}))
    for name, manifest, task in (("spoken", "texts", "speech"), ("street", "pairs", "denoise")):
        made = desk.run("library", "import", name, folder / f"{manifest}.jsonl", "--task", task)
        assert json.loads(made.stdout) == {"library": name, "version": 1}, made.stderr
    return write_llama(tmp_path_factory.mktemp("llm"))


def test_speak_prints_where_each_text_can_be_heard(desk: Desk, spoken: Path) -> None:
    out = desk.folder / "said"
    asked = ("speak", "one", "one & one", "--library", "spoken", "--out", out, "--format", "json")
    first, second = (desk.run(*asked, WORDWAVE_GENERATION_LLM=str(spoken)) for _ in range(2))
    assert (first.returncode, second.stdout) == (0, first.stdout), first.stderr
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert [(row["asked"], row["status"], row["duration"]) for row in rows] == [
        ("one", "generated", 0.72),
        ("one & one", "generated", 0.72),
    ]
    assert [Path(row["uri"]).name.rpartition("-")[0] for row in rows] == ["one", "one-one"]
    assert sorted(file_uri(path) for path in out.glob("*.wav")) == sorted(row["uri"] for row in rows)
    page = first.stderr.strip().rpartition(" ")[2]
    assert first.stderr == second.stderr == f"to look at and listen to: {page}\n"
    assert file_path(page).read_text().startswith("<!doctype html>")


def test_sounds_are_not_made_by_a_library_of_speech(desk: Desk, spoken: Path) -> None:
    refused = desk.run("sound", "one", "--library", "spoken", WORDWAVE_GENERATION_LLM=str(spoken))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "Error: library spoken@1 is for speech, not for sound\n"


def test_denoise_prints_where_each_clip_can_be_heard(desk: Desk, spoken: Path) -> None:
    asked = ("denoise", desk.clips, "--library", "street")
    printed = desk.run(*asked, WORDWAVE_GENERATION_LLM=str(spoken))
    assert printed.returncode == 0, printed.stderr
    lines = [line.split("  ") for line in printed.stdout.splitlines()]
    assert [uri for _, uri in lines] == sorted(file_uri(desk.clips / name) for name in CLIPS)
    heard = [said for said, _ in lines if not said.startswith("quarantined: ")]
    assert len(heard) == 3
    assert all(file_path(uri).read_bytes().startswith(b"RIFF") for uri in heard)


def test_a_setting_that_cannot_be_is_an_error_without_a_traceback(desk: Desk) -> None:
    command = ["env", "WORDWAVE_DEVICE=toaster", str(WORDWAVE), "label", str(desk.clips), "--library", "x"]
    refused = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "WORDWAVE_DEVICE" in refused.stderr
    assert "Traceback" not in refused.stderr


HEAVY = {"torch", "torchaudio", "transformers", "prefect", "boto3", "numpy"}


@pytest.mark.parametrize(
    ("statement", "may_load"),
    [
        ("from flows.cli.main import wordwave; wordwave(['--help'], standalone_mode=False)", set()),
        ("from flows.cli.main import wordwave; wordwave(['label', '--help'], standalone_mode=False)", set()),
        ("from flows.cli.main import wordwave; wordwave(['speak', '--help'], standalone_mode=False)", set()),
        (
            "from flows.cli.main import wordwave; wordwave(['evaluate', '--help'], standalone_mode=False)",
            set(),
        ),
        ("import flows.forms", set()),
        (
            "import db.clips, db.embedded.server, db.libraries, db.predictions, db.quarantine, db.runs",
            set(),
        ),
        ("import migrations.upgrade", set()),
        ("import flows.pipeline.nights.jobs", {"numpy", "boto3"}),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str, may_load: set[str]) -> None:
    code = f"import sys; {statement}; print(sorted({HEAVY - may_load} & sys.modules.keys()))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "[]"
