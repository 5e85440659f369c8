"""The list of deployments behind the UI's forms.

`wordwave up` serves them in one process; prefect.yaml has the same deployments for work pools.
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
"""Name of every flow's deployment, as in label-clips/wordwave."""
LIBRARY_FIELDS = {"library", "canary_library"}
MAX_NAMED = 20
"""Most libraries that a form's help lists."""
Pool = Literal["wordwave-cpu", "wordwave-gpu"]


@dataclass(frozen=True)
class Deployed:
    """The deployment of a flow. Its description is the flow's own."""

    flow: str
    module: str
    tags: tuple[str, ...]
    pool: Pool = "wordwave-cpu"
    at_once: int | None = None

    @property
    def name(self) -> str:
        """Return the names of flow and deployment, as in commands and addresses."""
        return f"{self.flow}/{DEPLOYMENT}"

    @property
    def entrypoint(self) -> str:
        """Return the entry point by module. By file, flows/ would come first on the path of the process."""
        return f"flows.{self.module}.{self.flow.replace('-', '_')}"

    def load(self) -> "Flow[..., Any]":
        """Import and return the flow."""
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
    """Return the deployments of all flows for this process to serve. Forms list the existing libraries."""
    return [serve(deployed, libraries=libraries) for deployed in DEPLOYED]


def serve(
    deployed: Deployed, name: str = DEPLOYMENT, *, libraries: Sequence[str] = (), **new: Any
) -> "RunnerDeployment":
    """Return a deployment for this process to serve. Only a new one takes the values in `new`.

    Everything else stays as people set it in the UI.
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
    """List the existing libraries in the help of fields that name one. The field takes any text."""
    more = ", and more" if len(libraries) > MAX_NAMED else ""
    known = f" There are: {', '.join(libraries[:MAX_NAMED])}{more}." if libraries else ""
    for field in LIBRARY_FIELDS & schema.properties.keys():
        schema.properties[field]["description"] += known


def _closed(schema: "ParameterSchema") -> "ParameterSchema":
    """Return a form that refuses unknown parameters: the API would ignore a misspelled one."""
    from prefect.utilities.callables import ParameterSchema

    class ClosedSchema(ParameterSchema):
        additionalProperties: Literal[False]

    return ClosedSchema(**schema.model_dump(), additionalProperties=False)


def _limit(at_once: int | None) -> "ConcurrencyLimitConfig | None":
    """Return a limit above which runs wait.

    A night keeps the day that it was due for, so a late one still does its own day. A cancelled one would
    leave a gap.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    if at_once is None:
        return None
    return ConcurrencyLimitConfig(limit=at_once, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
