"""Which flows are offered, to whom, and what holds them back: the one list behind the UI's forms.

`wordwave up` serves it in one process; prefect.yaml offers the same deployments to work pools.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.deployments.runner import RunnerDeployment
    from prefect.utilities.callables import ParameterSchema

DEPLOYMENT = "wordwave"
"""What every flow's deployment is called: label-clips/wordwave."""
LIBRARY_FIELDS = {"library", "canary_library"}
MAX_NAMED = 20
"""Libraries that a form's help names."""
Pool = Literal["wordwave-cpu", "wordwave-gpu"]


@dataclass(frozen=True)
class Deployed:
    """One flow as it is offered. The flow's own description is the deployment's."""

    flow: str
    module: str
    tags: tuple[str, ...]
    pool: Pool = "wordwave-cpu"
    at_once: int | None = None

    @property
    def name(self) -> str:
        """Flow and deployment, as commands and addresses want them."""
        return f"{self.flow}/{DEPLOYMENT}"

    @property
    def entrypoint(self) -> str:
        """By module: by file, flows/ would stand first on the path of the run's process."""
        return f"flows.{self.module}.{self.flow.replace('-', '_')}"

    def load(self) -> "Flow[..., Any]":
        """The flow itself."""
        module, _, name = self.entrypoint.rpartition(".")
        return cast("Flow[..., Any]", getattr(import_module(module), name))


NIGHTLY = Deployed("nightly-labeling", "nightly", ("nightly",), pool="wordwave-gpu", at_once=1)
DEPLOYED = (
    Deployed("ingest-clips", "steps", ("step",)),
    Deployed("tokenize-clips", "steps", ("step",), pool="wordwave-gpu"),
    Deployed("build-library", "steps", ("library",), pool="wordwave-gpu"),
    Deployed("label-clips", "steps", ("step",), pool="wordwave-gpu"),
    Deployed("export-results", "steps", ("step",)),
    NIGHTLY,
    Deployed("label-shard", "nightly", ("helper",), pool="wordwave-gpu"),
    Deployed("backfill-labeling", "nightly", ("nightly",), pool="wordwave-gpu"),
    Deployed("generate-speech", "generation", ("audio",), pool="wordwave-gpu"),
    Deployed("generate-sound", "generation", ("audio",), pool="wordwave-gpu"),
    Deployed("denoise-clips", "generation", ("audio",), pool="wordwave-gpu"),
    Deployed("evaluate-task", "quality", ("quality",), pool="wordwave-gpu"),
    Deployed("watch-place", "quality", ("quality",)),
    Deployed("replay-quarantine", "repair", ("repair",), pool="wordwave-gpu"),
    Deployed("recheck", "repair", ("repair",), pool="wordwave-gpu"),
    Deployed("undo-run", "repair", ("repair",)),
    Deployed("verify-run", "quality", ("check",), pool="wordwave-gpu"),
    Deployed("upgrade-models", "models", ("models",), pool="wordwave-gpu"),
    Deployed("promote-models", "models", ("models",)),
    Deployed("doctor", "quality", ("check",), pool="wordwave-gpu"),
)


def served(libraries: Sequence[str] = ()) -> list["RunnerDeployment"]:
    """Return the deployments of all flows as one process serves them; forms name the libraries that exist."""
    return [serve(deployed, libraries=libraries) for deployed in DEPLOYED]


def serve(
    deployed: Deployed, name: str = DEPLOYMENT, *, libraries: Sequence[str] = (), **new: Any
) -> "RunnerDeployment":
    """Return a deployment of a flow as one process serves it; `new` sets what only a new one is given.

    What is not given stays as people set it in the UI.
    """
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    deployment = RunnerDeployment.from_flow(
        deployed.load(),
        name=name,
        tags=list(deployed.tags),
        concurrency_limit=_limit(deployed.at_once),
        entrypoint_type=EntrypointType.MODULE_PATH,
        **new,
    )
    # a field that is set would be emptied
    deployment.model_fields_set.difference_update({"parameters", "paused", "schedules"} - new.keys())
    deployment._parameter_openapi_schema = _closed(deployment._parameter_openapi_schema)
    _name_known(deployment._parameter_openapi_schema, libraries)
    return deployment


def _name_known(schema: "ParameterSchema", libraries: Sequence[str]) -> None:
    """Let the help of fields that name a library say which there are; the field takes any text."""
    more = ", and more" if len(libraries) > MAX_NAMED else ""
    known = f" There are: {', '.join(libraries[:MAX_NAMED])}{more}." if libraries else ""
    for field in LIBRARY_FIELDS & schema.properties.keys():
        schema.properties[field]["description"] += known


def _closed(schema: "ParameterSchema") -> "ParameterSchema":
    """A form that the API refuses with a parameter it does not know: a misspelled one would be left out."""
    from prefect.utilities.callables import ParameterSchema

    class ClosedSchema(ParameterSchema):
        additionalProperties: Literal[False]

    return ClosedSchema(**schema.model_dump(), additionalProperties=False)


def _limit(at_once: int | None) -> "ConcurrencyLimitConfig | None":
    """A run over the limit waits.

    A night keeps the day that it was due for, so a late one still does its own day, where a cancelled one
    would leave a gap for somebody to find.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    if at_once is None:
        return None
    return ConcurrencyLimitConfig(limit=at_once, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
