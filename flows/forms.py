"""What people ask for: the types of the flows' parameters, which Prefect turns into forms.

Each is flat and says its title, help and bounds, so that the form, the API and the flow check the same
things. Parameters are stored and shown in clear: they name things and never hold a credential. Patterns
that forbid something stand in the JSON schema too, where the API applies them before anything is stored.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic.fields import FieldInfo

from core.errors import ReasonCode
from core.evaluation.paper import Layout, TaskName
from db.library_names import NAME, VERSION
from flows.pipeline.configuration.credentials import CREDENTIAL
from flows.pipeline.configuration.options import RequestField, Rule, request_fields
from flows.pipeline.labeling.request import LabelRequest, LayerChoice
from flows.pipeline.libraries.library_option import LIBRARY, LIBRARY_RULE, NAME_CHARACTERS
from flows.pipeline.runs.days import check_timezone

_NO_CREDENTIAL = rf"(?!.*(?:{CREDENTIAL}))"
_PLACE = r"(?:s3://[A-Za-z0-9._-]{3,255}(?:/.*)?|file:///.*|/.*)"


# {date} would be taken for a folder of that name
PREFIX = Rule(
    rf"^{_NO_CREDENTIAL}(?!.*\{{(?!day\}})[a-z_]*\}}){_PLACE}$",
    "write s3://bucket/folder or an absolute folder, without keys or passwords; {day} is the only part that "
    "is filled in",
)
FOLDER = Rule(
    rf"^{_NO_CREDENTIAL}(?!.*\{{[a-z_]*\}}){_PLACE}$",
    "write s3://bucket/folder or an absolute folder, without keys or passwords; nothing is filled in here, "
    "so write a day as 2026-11-21",
)
MANIFEST = Rule(
    rf"^{_NO_CREDENTIAL}{_PLACE}$",
    "write s3://bucket/folder/file.jsonl or an absolute path, without keys or passwords",
)
TEXTS_FILE = Rule(
    rf"^(?:{_NO_CREDENTIAL}{_PLACE})?$",
    "write s3://bucket/folder/file.txt or an absolute path, without keys or passwords; empty: none",
)
NEW_LIBRARY = Rule(rf"^{NAME}$", f"write a name without a version: {NAME_CHARACTERS}")
CANARIES = Rule(
    rf"^(?:{NAME}{VERSION})?$", f"write NAME, NAME@VERSION or nothing; a name has {NAME_CHARACTERS}"
)
LINE = Rule(
    r"^(?!.*###)[^\x00-\x1f\x7f]*$", "write one line of text without '###', which begins a part of the prompt"
)
TEXT = Rule(
    rf"^{_NO_CREDENTIAL}(?=.*\S)(?!.*###)[^\x00-\x1f\x7f]*$",
    "write one line of text that is not empty and without '###', which begins a question",
)
ON_DAY = Rule(
    r"^(?:any|(?:today|yesterday)(?:@(?:[01]\d|2[0-3]):[0-5]\d)?|\d{4}-\d{2}-\d{2})$",
    "write today, yesterday, a date as 2026-11-21, or any; a schedule may add its time: yesterday@23:30",
)
_A_RUN = r"(?!/|s3://|file://)(?=.*\S)[^\x00-\x1f\x7f]*"
RUN = Rule(rf"^{_NO_CREDENTIAL}{_A_RUN}$", "write the id or the name of a run, as its page shows it")
FOLDER_OR_RUN = Rule(
    rf"^{_NO_CREDENTIAL}(?:(?!.*\{{[a-z_]*\}}){_PLACE}|{_A_RUN})$",
    "write s3://bucket/folder or an absolute folder, without keys or passwords and with the day as "
    "2026-11-21, or the id or the name of a run",
)
DATE = Rule(r"^\d{4}-\d{2}-\d{2}$", "write a date as 2026-11-21")


def is_place(text: str) -> bool:
    """Return whether a text is meant as a folder, and not as a run."""
    return text.startswith(("/", "s3://", "file://"))


def _check_day(day: str) -> str:
    """A date has to be one that the calendar has."""
    if re.fullmatch(DATE.pattern, day):
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise ValueError(f"{day} is no date: {error}") from error
    return day


def _form(title: str, description: str, rule: Rule | None = None) -> FieldInfo:
    """Title and help of a form's field. Prefect sets its own over pydantic's, but leaves extras alone.

    A title is the parameter's name, which `prefect deployment run --param` wants.
    """
    extra: dict[str, JsonValue] = {"title": title, "description": description}
    if rule:
        extra |= vars(rule)
    return cast(FieldInfo, Field(json_schema_extra=extra))


def form_field(field: RequestField) -> FieldInfo:
    """Return the bounds, title and help of a request's field as a form shows them."""
    option = field.option
    shown = _form(field.title, option.help, option.rule).json_schema_extra
    return cast(
        FieldInfo, Field(ge=option.ge, gt=option.gt, le=option.le, lt=option.lt, json_schema_extra=shown)
    )


def form_type(field: RequestField) -> Any:
    """Return the annotated type of a request's field, as a flow's parameter has it."""
    rule = field.option.rule
    checks = [AfterValidator(rule.check)] if rule else []
    return Annotated[field.kind, *checks, form_field(field)]


Prefix = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(PREFIX.check),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. {day} becomes the day, as in "
        "s3://calls/incoming/{day}. No keys or passwords: this text is stored as it is.",
        PREFIX,
    ),
]
Folder = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(FOLDER.check),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. No keys or passwords: this text is "
        "stored as it is.",
        FOLDER,
    ),
]
PrefixOrRun = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(FOLDER_OR_RUN.check),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. Or the id or name of a run, as its "
        "page shows it, for the folder of that run. No keys or passwords: this text is stored as it is.",
        FOLDER_OR_RUN,
    ),
]
ManifestUri = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(MANIFEST.check),
    _form(
        "Manifest",
        "JSONL or CSV file of rows with path (relative to it) and label, for speech and sound path and text, "
        "for denoise path and target, the clean clip: s3://bucket/file or a path.",
        MANIFEST,
    ),
]
LabeledManifestUri = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(MANIFEST.check),
    _form(
        "Manifest",
        "JSONL or CSV file of rows with path (relative to it), label and, where it is known, group: clips of "
        "one group were recorded together, and no demonstration is of the query's group.",
        MANIFEST,
    ),
]
LibraryName = Annotated[str, AfterValidator(LIBRARY_RULE.check), _form("Library", LIBRARY.help, LIBRARY_RULE)]
NewLibraryName = Annotated[
    str,
    AfterValidator(NEW_LIBRARY.check),
    _form(
        "Library",
        "Name of the library; equal content keeps its version, other content makes the next.",
        NEW_LIBRARY,
    ),
]
ExportedLibrary = Annotated[
    str,
    AfterValidator(NEW_LIBRARY.check),
    _form("Library", "Name of the library by which the clips were labeled.", NEW_LIBRARY),
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
    AfterValidator(LINE.check),
    _form(
        "Instruction",
        "Sentence that begins the prompts of speech, sound and denoise; empty: the task's own.",
        LINE,
    ),
]
_LABELING = request_fields(LabelRequest)
Repeats = Annotated[int, form_field(_LABELING["repeats"])]
Layers = Annotated[LayerChoice, form_field(_LABELING["layers"])]
MaxWindows = Annotated[int, form_field(_LABELING["max_windows"])]
Orders = Annotated[int, form_field(_LABELING["orders"])]
NWay = Annotated[int, Field(ge=2, le=64), _form("N way", "Labels of an episode; the layout ways sets them.")]
Shots = Annotated[
    int,
    Field(ge=1, le=64),
    _form("K shot", "Demonstrations of each label in an episode; the layout prompts sets them."),
]
Episodes = Annotated[
    int, Field(ge=1, le=100_000), _form("Episodes", "Questions of each column; the paper's bars ask 600.")
]
TableLayout = Annotated[
    Layout,
    _form(
        "Layout",
        "single: what this form says. prompts: the columns of the paper's Tables 2 and 8 (instruction, "
        "shots, repeats) for both kinds of layers. ways: 2 to 6 labels, as in its Table 9.",
    ),
]
PaperTask = Annotated[
    TaskName,
    _form("Paper", "Whose figures of the paper stand beside ours, where it has such columns."),
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
BatchSize = Annotated[int, Field(ge=1, le=1000), _form("Batch size", "Clips of one task and one commit.")]
MAX_TEXTS, MAX_TEXT_CHARACTERS = 200, 200
Texts = Annotated[
    list[
        Annotated[
            str,
            Field(max_length=MAX_TEXT_CHARACTERS, json_schema_extra=vars(TEXT)),
            AfterValidator(TEXT.check),
        ]
    ],
    Field(max_length=MAX_TEXTS),
    _form("Texts", "What is to be heard, one text an answer; leave it empty to take a file of texts."),
]
TextsUri = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(TEXTS_FILE.check),
    _form(
        "Texts uri",
        'In place of texts: a .txt file (a line each), .csv (its column text) or .jsonl ({"text": ...}), '
        "s3://bucket/file or a path. Bad lines are set aside.",
        TEXTS_FILE,
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
        "Slice seconds",
        "Seconds of a clip that are asked at once, rounded to blocks of 0.24 s. 0: the whole clip; one that "
        "does not fit the LLM's context is set aside.",
    ),
]
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
    AfterValidator(RUN.check),
    _form(
        "Run",
        "Id or name of a run as its page shows it; the ids of analytics.runs (run, flow_run) mean the same.",
        RUN,
    ),
]
Sample = Annotated[
    int, Field(ge=1, le=10_000), _form("Sample", "So many of the run's clips are encoded and answered again.")
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
CatchUpDays = Annotated[
    int,
    Field(ge=0, le=31),
    _form(
        "Catch up days",
        "Earlier days of this place that no night completed are done after this one, at most so many days "
        "back and none before its first night. 0: none.",
    ),
]
DryRun = Annotated[bool, _form("Dry run", "Say what would be done, and do and write nothing.")]
APPROVAL_HOURS = 12
Approve = Annotated[
    bool,
    _form(
        "Approve",
        "Show the plan and wait until somebody resumes the run in the UI; nothing is done before. After "
        f"{APPROVAL_HOURS} hours the run fails. A plan without work needs nobody.",
    ),
]
Day = Annotated[
    str,
    AfterValidator(ON_DAY.check),
    AfterValidator(_check_day),
    _form(
        "Day",
        "today, yesterday, YYYY-MM-DD or any, in the time zone; today is the day the run is due. A schedule "
        "may add its time, as in yesterday@23:30, for nights in which clocks jump over midnight. "
        "Without {day} in the prefix it means the clips last modified that day.",
        ON_DAY,
    ),
]
FirstDay = Annotated[
    str,
    AfterValidator(DATE.check),
    AfterValidator(_check_day),
    _form("First day", "YYYY-MM-DD, in the time zone.", DATE),
]
LastDay = Annotated[
    str,
    AfterValidator(DATE.check),
    AfterValidator(_check_day),
    _form("Last day", "YYYY-MM-DD, itself among the days; at most a year's are taken.", DATE),
]
CanaryLibrary = Annotated[
    str,
    AfterValidator(CANARIES.check),
    _form(
        "Canary library",
        "Library of clips whose labels are known and which the prompt does not show, NAME or NAME@VERSION. "
        "They are asked before anything else; empty asks none.",
        CANARIES,
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
    _form("Timezone", "Where days begin, such as Europe/Berlin."),
]
