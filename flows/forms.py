"""Types of the flows' parameters, which Prefect turns into forms.

Each type is flat and has a title, help and bounds, so that the form, the API and the flow check the same
things. Parameters are stored and shown in clear text: they name things, and never hold a credential.
Patterns that forbid something are in the JSON schema too, so that the API applies them before it stores
anything.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic.fields import FieldInfo

from core.errors import ReasonCode
from core.prompts.limits import MAX_INSTRUCTION_CHARACTERS, MAX_TEXT_CHARACTERS
from db.library_names import NAME, VERSION
from flows.pipeline.configuration.credentials import CREDENTIAL
from flows.pipeline.configuration.options import RequestField, Rule
from flows.pipeline.generation.request import JUDGE, METHOD, DenoisingMethod
from flows.pipeline.labeling.request import LABELER_RULE
from flows.pipeline.libraries.library_option import LIBRARY, LIBRARY_RULE, NAME_CHARACTERS
from flows.pipeline.runs.days import check_timezone

_NO_CREDENTIAL = rf"(?!.*(?:{CREDENTIAL}))"
MAX_PLACE_CHARACTERS = 1024
_PLACE = r"(?:s3://[A-Za-z0-9._-]{3,255}(?:/.*)?|file:///.*|/.*)"


# {date} would become a folder of that name
PREFIX = Rule(
    rf"^{_NO_CREDENTIAL}(?!.*\{{(?!day\}})[a-z_]*\}}){_PLACE}$",
    "write s3://bucket/folder or an absolute path, without keys or passwords; {day} is the only placeholder",
)
FOLDER = Rule(
    rf"^{_NO_CREDENTIAL}(?!.*\{{[a-z_]*\}}){_PLACE}$",
    "write s3://bucket/folder or an absolute path, without keys or passwords; there are no placeholders "
    "here, so write a day as 2026-11-21",
)
MANIFEST = Rule(
    rf"^{_NO_CREDENTIAL}{_PLACE}$",
    "write s3://bucket/folder/file.jsonl or an absolute path, without keys or passwords",
)
TEXTS_FILE = Rule(
    rf"^(?:{_NO_CREDENTIAL}{_PLACE})?$",
    "write s3://bucket/folder/file.txt or an absolute path, without keys or passwords, or leave it empty",
)
NEW_LIBRARY = Rule(rf"^{NAME}$", f"write a name without a version: {NAME_CHARACTERS}")
CANARIES = Rule(
    rf"^(?:{NAME}{VERSION})?$", f"write NAME or NAME@VERSION, or leave it empty; a name has {NAME_CHARACTERS}"
)
LINE = Rule(
    r"^(?!.*###)[^\x00-\x1f\x7f]*$",
    "write one line of text without '###', which starts a section of the prompt",
)
TEXT = Rule(
    rf"^{_NO_CREDENTIAL}(?=.*\S)(?!.*###)[^\x00-\x1f\x7f]*$",
    "write one line of text, not empty and without '###', which starts a question",
)
ON_DAY = Rule(
    r"^(?:any|(?:today|yesterday)(?:@(?:[01]\d|2[0-3]):[0-5]\d)?|\d{4}-\d{2}-\d{2})$",
    "write today, yesterday, any or a date such as 2026-11-21; a schedule can add its time: yesterday@23:30",
)
_A_RUN = r"(?!/|s3://|file://)(?=.*\S)[^\x00-\x1f\x7f]*"
RUN = Rule(rf"^{_NO_CREDENTIAL}{_A_RUN}$", "write the id or the name of a run, as shown on its page")
FOLDER_OR_RUN = Rule(
    rf"^{_NO_CREDENTIAL}(?:(?!.*\{{[a-z_]*\}}){_PLACE}|{_A_RUN})$",
    "write s3://bucket/folder or an absolute path, without keys or passwords and with a day as 2026-11-21, "
    "or the id or the name of a run",
)
DATE = Rule(r"^\d{4}-\d{2}-\d{2}$", "write a date such as 2026-11-21")


def is_place(text: str) -> bool:
    """Return whether a text names a folder rather than a run."""
    return text.startswith(("/", "s3://", "file://"))


def _check_day(day: str) -> str:
    """Return the day, or raise ValueError for a date that is not in the calendar."""
    if re.fullmatch(DATE.pattern, day):
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise ValueError(f"{day} is not a date: {error}") from error
    return day


def _form(title: str, description: str, rule: Rule | None = None) -> FieldInfo:
    """Return the title and help of a form field.

    They are extras of the schema: Prefect overwrites pydantic's own. The title is the name of the parameter
    in words, so that people find it again for `prefect deployment run --param`.
    """
    extra: dict[str, JsonValue] = {"title": title, "description": description}
    if rule:
        extra |= vars(rule)
    return cast(FieldInfo, Field(json_schema_extra=extra))


def form_field(field: RequestField) -> FieldInfo:
    """Return the bounds, title and help of a request's field as a form shows them."""
    option = field.option
    extra = _form(field.title, option.help, option.rule).json_schema_extra
    return cast(
        FieldInfo, Field(ge=option.ge, gt=option.gt, le=option.le, lt=option.lt, json_schema_extra=extra)
    )


def form_type(field: RequestField) -> Any:
    """Return the annotated type of a request's field, as a flow's parameter has it."""
    rule = field.option.rule
    checks = [AfterValidator(rule.check)] if rule else []
    return Annotated[field.kind, *checks, form_field(field)]


Place = Annotated[str, Field(max_length=MAX_PLACE_CHARACTERS)]
Share = Annotated[float, Field(ge=0, le=1)]


Prefix = Annotated[
    Place,
    AfterValidator(PREFIX.check),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. {day} is replaced by the day, as in "
        "s3://calls/incoming/{day}. No keys or passwords: this text is stored as it is.",
        PREFIX,
    ),
]
Folder = Annotated[
    Place,
    AfterValidator(FOLDER.check),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. No keys or passwords: this text is "
        "stored as it is.",
        FOLDER,
    ),
]
PrefixOrRun = Annotated[
    Place,
    AfterValidator(FOLDER_OR_RUN.check),
    _form(
        "Prefix",
        "Folder of the clips: s3://bucket/folder or an absolute path. Or the id or name of a run, as shown "
        "on its page, for the folder of that run. No keys or passwords: this text is stored as it is.",
        FOLDER_OR_RUN,
    ),
]
ManifestUri = Annotated[
    Place,
    AfterValidator(MANIFEST.check),
    _form(
        "Manifest",
        "JSONL or CSV file: s3://bucket/file or an absolute path. Rows have a path, relative to the file, "
        "and a label; for speech and sound, a path and a text; for denoise, a path and a target, which is "
        "the clean clip.",
        MANIFEST,
    ),
]
LabeledManifestUri = Annotated[
    Place,
    AfterValidator(MANIFEST.check),
    _form(
        "Manifest",
        "JSONL or CSV file: s3://bucket/file or an absolute path. Rows have a path, relative to the file, a "
        "label and, if known, a group. Clips of one group were recorded together, and no demonstration is "
        "from the query's group.",
        MANIFEST,
    ),
]
LibraryName = Annotated[str, AfterValidator(LIBRARY_RULE.check), _form("Library", LIBRARY.help, LIBRARY_RULE)]
NewLibraryName = Annotated[
    str,
    AfterValidator(NEW_LIBRARY.check),
    _form(
        "Library",
        "Name of the library. New content makes a new version; equal content keeps its version.",
        NEW_LIBRARY,
    ),
]
ExportedLibrary = Annotated[
    str,
    AfterValidator(NEW_LIBRARY.check),
    _form("Library", "Name of the library that the clips were labeled by.", NEW_LIBRARY),
]
LearnedLibrary = Annotated[
    str,
    AfterValidator(NEW_LIBRARY.check),
    _form("Library", "Name of the library that learns from what people decided.", NEW_LIBRARY),
]
PromoteRule = Annotated[
    Literal["auto", "ask", "never"],
    _form(
        "Promote",
        "auto: put the new version into use if its gain is above zero at the lower bound, else wait until "
        "somebody resumes the run. ask: always wait. never: only make and score it.",
    ),
]
NightsAgain = Annotated[
    int,
    Field(ge=0, le=366),
    _form(
        "Nights",
        "Last nights of each place of the library to answer again by a version that is put into use. Older "
        "answers stay.",
    ),
]
ChosenLabeler = Annotated[
    str,
    AfterValidator(LABELER_RULE.check),
    _form(
        "Labeler",
        "Labeler to choose by name, such as mixture, few-shot or nearest latents. auto: compare all of them "
        "on the library's own clips, and choose the best one.",
        LABELER_RULE,
    ),
]
Champion = Annotated[
    str,
    AfterValidator(CANARIES.check),
    _form(
        "Champion",
        "Version of the same library to compare with. Empty: what answers now, whatever gave these answers.",
        CANARIES,
    ),
]
ChallengingLabeler = Annotated[
    str,
    AfterValidator(LABELER_RULE.check),
    _form(
        "Labeler",
        "Labeler of the challenger by name, such as mixture, few-shot or nearest latents. default: the one "
        "that is chosen.",
        LABELER_RULE,
    ),
]
Promote = Annotated[
    bool,
    _form(
        "Promote",
        "Use the new version from now on: nights that name the library without a version run with it. "
        "Otherwise the current version stays in use. The first version is in use at once.",
    ),
]
Task = Annotated[
    Literal["label", "speech", "sound", "denoise"],
    _form(
        "Task",
        "Task that the library demonstrates: labels, spoken texts, sounds, or clips without their noise.",
    ),
]
LibraryInstruction = Annotated[
    str,
    Field(max_length=MAX_INSTRUCTION_CHARACTERS),
    AfterValidator(LINE.check),
    _form(
        "Instruction",
        "First sentence of the prompts of speech, sound and denoise. Empty: the default of the task.",
        LINE,
    ),
]
MAX_TEXTS = 200
Texts = Annotated[
    list[
        Annotated[
            str,
            Field(max_length=MAX_TEXT_CHARACTERS, json_schema_extra=vars(TEXT)),
            AfterValidator(TEXT.check),
        ]
    ],
    Field(max_length=MAX_TEXTS),
    _form(
        "Texts",
        "Texts to speak or to make sounds of, one for each answer. Leave it empty to use a file of texts.",
    ),
]
TextsUri = Annotated[
    Place,
    AfterValidator(TEXTS_FILE.check),
    _form(
        "Texts uri",
        "File of texts, in place of the list: s3://bucket/file or an absolute path. A .txt file has a text "
        'on each line, a .csv file a column text, and a .jsonl file rows of {"text": ...}. Bad lines are '
        "skipped and listed.",
        TEXTS_FILE,
    ),
]
Duration = Annotated[
    float,
    Field(gt=0, le=30),
    _form(
        "Duration",
        "Seconds of each answer, rounded to blocks of 0.24 s. Demonstrations are cut to the same length.",
    ),
]
SliceSeconds = Annotated[
    float,
    Field(ge=0, le=30),
    _form(
        "Slice seconds",
        "Length of the slices that a clip is denoised in, in seconds, rounded to blocks of 0.24 s. 0: the "
        "whole clip at once; a clip that does not fit the LLM's context is set aside.",
    ),
]
Judge = Annotated[bool, _form("Judge", JUDGE)]
DenoiseMethod = Annotated[DenoisingMethod, _form("Method", METHOD)]
MAX_SHARDS = 64
Reviews = Annotated[
    int,
    Field(ge=0, le=500),
    _form("Reviews", "Clips to queue for people to judge, those whose review is worth most. 0: none."),
]
Shards = Annotated[
    int,
    Field(ge=1, le=MAX_SHARDS),
    _form(
        "Shards",
        "Runs to split the clips between, each on a worker with a free place. 1: do everything in this run.",
    ),
]
ShardNumber = Annotated[
    int, Field(ge=1, le=MAX_SHARDS), _form("Shard", "Number of the shard that this run does.")
]
NightRun = Annotated[
    UUID, _form("Night", "Id of the run whose clips are split into shards. The rows name it.")
]
RunId = Annotated[
    str,
    Field(max_length=500),
    BeforeValidator(str),
    AfterValidator(RUN.check),
    _form(
        "Run",
        "Id or name of a run, as shown on its page. Ids from analytics.runs (run, flow_run) work too.",
        RUN,
    ),
]
Sample = Annotated[
    int, Field(ge=1, le=10_000), _form("Sample", "Clips of the run to encode and answer again.")
]
Reasons = Annotated[
    list[ReasonCode],
    _form("Reasons", "Only clips that were set aside for one of these reasons. None chosen: all clips."),
]
MAX_FORGOTTEN = 1_000
ForgottenClips = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=4_000)]],
    Field(min_length=1, max_length=MAX_FORGOTTEN),
    _form(
        "Clips",
        "Clips to forget: the uri of each, as in analytics.clips, or the SHA-256 of its bytes in hex. All "
        "clips with the same bytes go with it. The run takes this list out of its own parameters.",
    ),
]
InUse = Annotated[
    bool,
    _form(
        "In use",
        "Also forget what is in use: demonstrations of a library version in use, in whose place comes a "
        "version without them, and while other runs go on.",
    ),
]
AllowLoss = Annotated[
    bool,
    _form(
        "Allow loss",
        "Continue even if most known clips of the folder are gone. Otherwise the run ends before any clip is "
        "marked as missing, since a file share that is not mounted looks the same.",
    ),
]
LeastClips = Annotated[
    int,
    Field(ge=0),
    _form(
        "Least clips",
        "A night without clips ends as Empty, which is a failure, and one with fewer clips than this as "
        "Doubtful. 0 allows a night without clips.",
    ),
]
CatchUpDays = Annotated[
    int,
    Field(ge=0, le=31),
    _form(
        "Catch up days",
        "After this night, do the earlier days of this place that no night completed: at most this many days "
        "back, and none before its first night. 0: none.",
    ),
]
DryRun = Annotated[bool, _form("Dry run", "Only show what would be done, and write nothing.")]
APPROVAL_HOURS = 12
Approve = Annotated[
    bool,
    _form(
        "Approve",
        "Show the plan, and do nothing until somebody resumes the run in the UI. The run fails after "
        f"{APPROVAL_HOURS} hours. A plan without work needs no approval.",
    ),
]
Day = Annotated[
    str,
    AfterValidator(ON_DAY.check),
    AfterValidator(_check_day),
    _form(
        "Day",
        "today, yesterday, YYYY-MM-DD or any, in the time zone. today is the day that the run is due. A "
        "schedule can add its time, as in yesterday@23:30, for nights when clocks jump over midnight. "
        "Without {day} in the prefix, the clips last modified on that day are taken.",
        ON_DAY,
    ),
]
FirstDay = Annotated[
    str,
    AfterValidator(DATE.check),
    AfterValidator(_check_day),
    _form("First day", "First day of the range: YYYY-MM-DD, in the time zone.", DATE),
]
LastDay = Annotated[
    str,
    AfterValidator(DATE.check),
    AfterValidator(_check_day),
    _form("Last day", "Last day of the range, inclusive: YYYY-MM-DD. A range has at most a year.", DATE),
]
CanaryLibrary = Annotated[
    str,
    AfterValidator(CANARIES.check),
    _form(
        "Canary library",
        "Library of clips with known labels that are not in the prompt: NAME or NAME@VERSION. They are asked "
        "about before anything else. Empty: none.",
        CANARIES,
    ),
]
LeastCanaryAccuracy = Annotated[
    Share,
    _form(
        "Least canary accuracy",
        "Smallest share of right canaries. With fewer, the run stops before it labels anything.",
    ),
]
Timezone = Annotated[
    str,
    Field(max_length=64),
    AfterValidator(check_timezone),
    _form("Timezone", "Time zone of the days, such as Europe/Berlin."),
]
