"""What people ask for: the types of the flows' parameters, which Prefect turns into forms.

Each is flat and says its title, help and bounds, so that the form, the API and the flow check the same
things. Parameters are stored and shown in clear: they name things and never hold a credential. Patterns
that forbid something stand in the JSON schema too, where the API applies them before anything is stored.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from typing import Annotated, Literal, cast
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic.fields import FieldInfo

from core.errors import ReasonCode
from core.evaluation.paper import Layout, TaskName
from flows.credentials import CREDENTIAL, refuse_credentials

DAY = "{day}"
_BEGIN = rf"^(?!.*(?:{CREDENTIAL}))"
_PLACE = r"(?:s3://[A-Za-z0-9._-]{3,255}(?:/.*)?|file:///.*|/.*)$"
_PREFIX = _BEGIN + r"(?!.*\{(?!day\})[a-z_]*\})" + _PLACE  # {date} would be taken for a folder of that name
_MANIFEST = _BEGIN + _PLACE
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
LIBRARY_NAME = rf"^{_NAME}(?:@[1-9][0-9]{{0,8}})?$"
_FILE = rf"^(?:{_BEGIN[1:]}{_PLACE[:-1]})?$"
_TEXT = _BEGIN + r"(?=.*\S)(?!.*###)[^\x00-\x1f\x7f]*$"
_LINE = r"^(?!.*###)[^\x00-\x1f\x7f]*$"
_DAY = r"^(?:any|(?:today|yesterday)(?:@(?:[01]\d|2[0-3]):[0-5]\d)?|\d{4}-\d{2}-\d{2})$"


def _check_prefix(prefix: str) -> str:
    refuse_credentials(prefix)
    if not re.fullmatch(_PREFIX, prefix):
        raise ValueError(
            "write s3://bucket/folder or an absolute folder; {day} is the only part that is filled in"
        )
    return prefix


def _check_manifest(manifest: str) -> str:
    refuse_credentials(manifest)
    if not re.fullmatch(_MANIFEST, manifest):
        raise ValueError("write s3://bucket/folder/file.jsonl or an absolute path")
    return manifest


def _check_instruction(instruction: str) -> str:
    if not re.fullmatch(_LINE, instruction):
        raise ValueError("write one line of text without '###', which begins a part of the prompt")
    return instruction


def _check_text(text: str) -> str:
    refuse_credentials(text)
    if not re.fullmatch(_TEXT, text):
        raise ValueError(
            "write one line of text that is not empty and without '###', which begins a question"
        )
    return text


def _check_file(place: str) -> str:
    return place and _check_manifest(place)


def _check_run(run: str) -> str:
    refuse_credentials(run)
    if not (run := run.strip()):
        raise ValueError("write the id or the name of a run")
    return run


def _check_day(day: str) -> str:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
        date.fromisoformat(day)
    return day


def check_timezone(name: str) -> str:
    """The name itself. Raises ValueError where it is no time zone, with the nearest that is."""
    if name not in available_timezones():
        near = get_close_matches(name, available_timezones(), n=1)
        meant = f"did you mean {near[0]}?" if near else "write one like Europe/Berlin or UTC"
        raise ValueError(f"{name!r} is no time zone: {meant}")
    return name


def _form(title: str, description: str, **schema: JsonValue) -> FieldInfo:
    """Title and help of a form's field. Prefect sets its own over pydantic's, but leaves extras alone."""
    extra: dict[str, JsonValue] = {"title": title, "description": description, **schema}
    return cast(FieldInfo, Field(json_schema_extra=extra))


Prefix = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_check_prefix),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. {day} becomes the day, as in "
        "s3://calls/incoming/{day}. No keys or passwords: this text is stored as it is.",
        pattern=_PREFIX,
    ),
]
ManifestUri = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_check_manifest),
    _form(
        "Manifest",
        "JSONL or CSV file of rows with path (relative to it) and label, for speech and sound path and text, "
        "for denoise path and target, the clean clip: s3://bucket/file or a path.",
        pattern=_MANIFEST,
    ),
]
LabeledManifestUri = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_check_manifest),
    _form(
        "Manifest",
        "JSONL or CSV file of rows with path (relative to it), label and, where it is known, group: clips of "
        "one group were recorded together, and no demonstration is of the query's group.",
        pattern=_MANIFEST,
    ),
]
LibraryName = Annotated[
    str,
    Field(pattern=LIBRARY_NAME),
    _form("Library", "Library of demonstrations: NAME for its version in use, or NAME@VERSION."),
]
NewLibraryName = Annotated[
    str,
    Field(pattern=rf"^{_NAME}$"),
    _form("Library", "Name of the library; equal content keeps its version, other content makes the next."),
]
Promote = Annotated[
    bool,
    _form(
        "Promote",
        "Put the version into use: nights that name the library without a version run with it. Otherwise the "
        "version that is in use stays. The first version is in use at once.",
    ),
]
Task = Annotated[
    Literal["label", "speech", "sound", "denoise"],
    _form("Task", "What the library demonstrates: labels, said texts, sounds, or clips without their noise."),
]
LibraryInstruction = Annotated[
    str,
    Field(max_length=500),
    AfterValidator(_check_instruction),
    _form(
        "Instruction",
        "Sentence that begins the prompts of speech, sound and denoise; empty: the task's own.",
        pattern=_LINE,
    ),
]
KShot = Annotated[
    int, Field(ge=0, le=64), _form("Shots", "Demonstrations of each label in the prompt; 0 shows them all.")
]
Repeats = Annotated[
    int, Field(ge=0, le=16), _form("Repeats", "Further passes of the prompt over its demonstrations.")
]
Layers = Annotated[
    Literal["auto", "semantic", "semantic+acoustic"],
    _form("Layers", "Codes shown to the LLM: the semantic layer, all three, or what it was trained with."),
]
MaxWindows = Annotated[
    int,
    Field(ge=1, le=100),
    _form("Windows", "A clip longer than a window is asked in up to this many, the loudest ones."),
]
Orders = Annotated[
    int,
    Field(ge=0, le=16),
    _form("Orders", "Prompts that are averaged, each in another order. 0: as many as the LLM was made for."),
]
NWay = Annotated[int, Field(ge=2, le=64), _form("Labels", "Labels of an episode; the layout ways sets them.")]
Shots = Annotated[
    int,
    Field(ge=1, le=64),
    _form("Shots", "Demonstrations of each label in an episode; the layout prompts sets them."),
]
Episodes = Annotated[
    int, Field(ge=1, le=100_000), _form("Episodes", "Questions of each column; the paper's bars ask 600.")
]
TableLayout = Annotated[
    Layout,
    _form(
        "Table",
        "single: what this form says. prompts: the columns of the paper's Tables 2 and 8 (instruction, "
        "shots, repeats) for both kinds of layers. ways: 2 to 6 labels, as in its Table 9.",
    ),
]
PaperTask = Annotated[
    TaskName,
    _form("Paper's task", "Whose figures of the paper stand beside ours, where it has such columns."),
]
ShownInstruction = Annotated[
    bool, _form("Instruction", "Whether the prompt begins by naming the labels; the layout prompts sets it.")
]
Window = Annotated[
    int,
    Field(ge=0, le=512),
    _form("Window", "Semantic codes of a window, 8.3 a second. 0: as many as the LLM was trained with."),
]
Protocol = Annotated[
    Literal["service", "paper"],
    _form(
        "Protocol",
        "service: whole clips, asked in windows. paper: clips are cut or padded to 1 second before they are "
        "encoded, and greedy decoding answers.",
    ),
]
EpisodeSeed = Annotated[
    int, Field(ge=0, lt=2**31), _form("Seed", "The same seed draws the same episodes of the same clips.")
]
NearestShots = Annotated[
    int,
    Field(ge=0, le=64),
    _form(
        "Nearest shots",
        "Show each clip this many demonstrations of each label, the nearest to it by sound among those that "
        "Shots takes; 0 shows them all to each. Every other choice is a prompt for the LLM to read.",
    ),
]
MinMargin = Annotated[
    float,
    Field(ge=0, le=1),
    _form("Least margin", "An answer that leads the next label by less is marked uncertain."),
]
BatchSize = Annotated[int, Field(ge=1, le=1000), _form("Batch size", "Clips of one task and one commit.")]
Seed = Annotated[int, Field(ge=0, lt=2**31), _form("Seed", "The same seed gives the same audio.")]
MAX_TEXTS, LONGEST_TEXT = 200, 200
Texts = Annotated[
    list[
        Annotated[
            str,
            Field(max_length=LONGEST_TEXT, json_schema_extra={"pattern": _TEXT}),
            AfterValidator(_check_text),
        ]
    ],
    Field(max_length=MAX_TEXTS),
    _form("Texts", "What is to be heard, one text an answer; leave it empty to take a file of texts."),
]
TextsUri = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_check_file),
    _form(
        "File of texts",
        'In place of texts: a .txt file (a line each), .csv (its column text) or .jsonl ({"text": ...}), '
        "s3://bucket/file or a path. Bad lines are set aside.",
        pattern=_FILE,
    ),
]
Duration = Annotated[
    float,
    Field(gt=0, le=30),
    _form(
        "Duration",
        "Seconds of each answer, rounded to blocks of 0.24 s; demonstrations show as long a stretch.",
    ),
]
SliceSeconds = Annotated[
    float,
    Field(ge=0, le=30),
    _form(
        "Slice",
        "Seconds of a clip that are asked at once, rounded to blocks of 0.24 s. 0: the whole clip; one that "
        "does not fit the LLM's context is set aside.",
    ),
]
Temperature = Annotated[
    float,
    Field(ge=0, le=10),
    _form("Temperature", "0 says the most probable code each time; the higher, the more is left to chance."),
]
TopP = Annotated[
    float,
    Field(gt=0, le=1),
    _form("Top p", "Over temperature 0: draw among the most probable codes that hold this much probability."),
]
AudioFormat = Annotated[Literal["wav", "flac"], _form("Format", "Of the written files, 16 bits each.")]
MAX_SHARDS = 64
Shards = Annotated[
    int,
    Field(ge=1, le=MAX_SHARDS),
    _form(
        "Shards",
        "Runs that share the clips out between them, each where a worker has a place. 1: all in this run.",
    ),
]
ShardNumber = Annotated[int, Field(ge=1, le=MAX_SHARDS), _form("Shard", "Which of the shards this run does.")]
NightRun = Annotated[UUID, _form("Night", "Id of the run that is shared out; its rows name it.")]
RunId = Annotated[
    str,
    Field(max_length=500),
    BeforeValidator(str),
    AfterValidator(_check_run),
    _form(
        "Run",
        "Id or name of a run as its page shows it; the ids of analytics.runs (run, flow_run) mean the same.",
    ),
]
Sample = Annotated[
    int, Field(ge=1, le=10_000), _form("Clips", "So many of the run's clips are encoded and answered again.")
]
Reasons = Annotated[
    list[ReasonCode], _form("Reasons", "Only clips that were set aside for one of these; none chosen: all.")
]
AllowLoss = Annotated[
    bool,
    _form(
        "Allow loss",
        "Go on though most known clips of the folder are gone. Otherwise that ends the run before any is "
        "marked as missing, since a share that is not mounted looks the same.",
    ),
]
LeastClips = Annotated[
    int,
    Field(ge=0),
    _form(
        "Least clips",
        "A night without any clip ends as Empty, which is a failure, and one with fewer than this as "
        "Doubtful. 0 allows a night without any.",
    ),
]
MaxQuarantined = Annotated[
    float, Field(ge=0, le=1), _form("Max quarantined", "Share of the clips of a night; 1 bounds nothing.")
]
MaxUncertain = Annotated[
    float, Field(ge=0, le=1), _form("Max uncertain", "Share of the answers of a night; 1 bounds nothing.")
]
MaxOneLabel = Annotated[
    float,
    Field(ge=0, le=1),
    _form("Max one label", "Share of the answers that are the most frequent label; 1 bounds nothing."),
]
LeastAgreement = Annotated[
    float,
    Field(ge=0, le=1),
    _form(
        "Least agreement",
        "Share of the answers that are those of the nearest demonstration, by tokens and by pooled latent; "
        "0 bounds nothing.",
    ),
]
LeastUsual = Annotated[
    float,
    Field(ge=0, le=1),
    _form(
        "Least usual",
        "Clips of a night as a share of the usual number: the median of the last four nights of that "
        "weekday. 0 bounds nothing.",
    ),
]
MostUsual = Annotated[
    float,
    Field(ge=0, le=1000),
    _form("Most usual", "Clips of a night as a multiple of the usual number; 0 bounds nothing."),
]
DryRun = Annotated[bool, _form("Dry run", "Say what would be done, and do and write nothing.")]
APPROVAL_HOURS = 12
Approve = Annotated[
    bool,
    _form(
        "Ask for approval",
        "Show the plan and wait until somebody resumes the run in the UI; nothing is done before. After "
        f"{APPROVAL_HOURS} hours the run fails. A plan without work needs nobody.",
    ),
]
Day = Annotated[
    str,
    Field(pattern=_DAY),
    AfterValidator(_check_day),
    _form(
        "Day",
        "today, yesterday, YYYY-MM-DD or any, in the time zone; today is the day the run is due. A schedule "
        "may add its time, as in yesterday@23:30, for nights in which clocks jump over midnight. "
        "Without {day} in the prefix it means the clips last modified that day.",
    ),
]
_DATE = r"^\d{4}-\d{2}-\d{2}$"
FirstDay = Annotated[
    str,
    Field(pattern=_DATE),
    AfterValidator(_check_day),
    _form("First day", "YYYY-MM-DD, in the time zone."),
]
LastDay = Annotated[
    str,
    Field(pattern=_DATE),
    AfterValidator(_check_day),
    _form("Last day", "YYYY-MM-DD, itself among the days; at most a year's are taken."),
]
CanaryLibrary = Annotated[
    str,
    Field(pattern=rf"^(?:{_NAME}(?:@[1-9][0-9]{{0,8}})?)?$"),
    _form(
        "Canary library",
        "Library of clips whose labels are known and which the prompt does not show, NAME or NAME@VERSION. "
        "They are asked before anything else; empty asks none.",
    ),
]
LeastCanaryAccuracy = Annotated[
    float,
    Field(ge=0, le=1),
    _form("Least canary accuracy", "With fewer canaries right, the run stops before it labels anything."),
]
Timezone = Annotated[
    str,
    Field(max_length=64),
    AfterValidator(check_timezone),
    _form("Time zone", "Where days begin, such as Europe/Berlin."),
]


def resolve_day(day: str, timezone: str, now: datetime) -> date | None:
    """Return the date that `day` means, None for any.

    `now` is when the run was due: a late run keeps its day. So does a run that a jump of the clocks moved to
    the evening before: yesterday@HH:MM was scheduled for this time, yesterday alone for one after midnight.
    """
    if day == "any":
        return None
    word, _, at = day.partition("@")
    if word not in ("today", "yesterday"):
        return date.fromisoformat(day)
    due = now.astimezone(ZoneInfo(timezone))
    meant = _before_the_jump(due)
    is_moved = meant.strftime("%H:%M") == at if at else word == "yesterday"
    today = meant.date() if is_moved else due.date()
    return today if word == "today" else _day_before(today, due.tzinfo)


def _before_the_jump(due: datetime) -> datetime:
    """Return the time on the clock for which a run was scheduled that now starts before midnight.

    Where clocks jump over midnight, as in Cairo, Prefect starts a run of 00:30 at 23:30 of the day before. A
    jump over a whole day moves nothing.
    """
    midnight = datetime.combine(due.date() + timedelta(days=1), time(), due.tzinfo)
    after, before = midnight.replace(fold=1).utcoffset(), midnight.utcoffset()
    assert after is not None
    assert before is not None
    jump = max(after - before, timedelta()) % timedelta(days=1)
    return due.replace(tzinfo=None) + jump


def _day_before(day: date, zone: tzinfo | None) -> date:
    """Return the last day that the zone's calendar has before this one: Samoa had no 30 December 2011."""
    begins = datetime.combine(day, time(), zone).astimezone(UTC)
    return (begins - timedelta.resolution).astimezone(zone).date()


def render_day(prefix: str, day: str, timezone: str, now: datetime) -> str:
    """The prefix with each {day} filled in as YYYY-MM-DD; days as for resolve_day.

    Raises ValueError for any day where one has to be filled in.
    """
    if DAY not in prefix:
        return prefix
    if (resolved := resolve_day(day, timezone, now)) is None:
        raise ValueError(f"{prefix!r} has {DAY}, so the day cannot be 'any': give today, yesterday or a date")
    return prefix.replace(DAY, resolved.isoformat())


def modified_span(prefix: str, day: str, timezone: str, now: datetime) -> tuple[datetime, datetime] | None:
    """The day from midnight to midnight in the time zone, None where the prefix or `any` says enough."""
    resolved = resolve_day(day, timezone, now)
    if DAY in prefix or resolved is None:
        return None
    midnight = datetime.combine(resolved, time(), ZoneInfo(timezone))
    return midnight, datetime.combine(resolved + timedelta(days=1), time(), ZoneInfo(timezone))


def split_library_name(name: str) -> tuple[str, int | None]:
    """(name, version) of NAME@VERSION; the version of a bare NAME is None: the one in use.

    Raises ValueError when it is neither.
    """
    if not re.fullmatch(LIBRARY_NAME, name):
        raise ValueError(f"{name!r} is no library: write NAME or NAME@VERSION")
    bare, _, version = name.partition("@")
    return bare, int(version) if version else None
