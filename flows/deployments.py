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

DEPLOYMENT_NAME = "wordwave"
"""Name of every flow's deployment, as in label-clips/wordwave."""
LIBRARY_FIELDS = {"library", "canary_library"}
MAX_LIBRARIES_IN_HELP = 20
"""Most libraries that a form's help lists."""
Pool = Literal["wordwave-cpu", "wordwave-gpu"]


@dataclass(frozen=True)
class FlowDeployment:
    """The deployment of a flow. Its description is the flow's own."""

    flow: str
    module: str
    tags: tuple[str, ...]
    pool: Pool = "wordwave-cpu"
    max_runs: int | None = None

    @property
    def name(self) -> str:
        """Return the names of flow and deployment, as in commands and addresses."""
        return f"{self.flow}/{DEPLOYMENT_NAME}"

    @property
    def entrypoint(self) -> str:
        """Return the entry point by module. By file, flows/ would come first on the path of the process."""
        return f"flows.{self.module}.{self.flow.replace('-', '_')}"

    def load(self) -> "Flow[..., Any]":
        """Import and return the flow."""
        module, _, name = self.entrypoint.rpartition(".")
        return cast("Flow[..., Any]", getattr(import_module(module), name))


NIGHTLY = FlowDeployment("nightly-labeling", "nightly", ("nightly",), pool="wordwave-gpu", max_runs=1)
DEPLOYMENTS = (
    FlowDeployment("ingest-clips", "steps", ("step",)),
    FlowDeployment("tokenize-clips", "steps", ("step",), pool="wordwave-gpu"),
    FlowDeployment("build-library", "steps", ("library",), pool="wordwave-gpu"),
    FlowDeployment("label-clips", "steps", ("step",), pool="wordwave-gpu"),
    FlowDeployment("export-results", "steps", ("step",)),
    NIGHTLY,
    FlowDeployment("label-shard", "nightly", ("helper",), pool="wordwave-gpu"),
    FlowDeployment("backfill-labeling", "nightly", ("nightly",), pool="wordwave-gpu"),
    FlowDeployment("generate-speech", "generation", ("audio",), pool="wordwave-gpu"),
    FlowDeployment("generate-sound", "generation", ("audio",), pool="wordwave-gpu"),
    FlowDeployment("denoise-clips", "generation", ("audio",), pool="wordwave-gpu"),
    FlowDeployment("evaluate-task", "quality", ("quality",), pool="wordwave-gpu"),
    FlowDeployment("watch-place", "quality", ("quality",)),
    FlowDeployment("replay-quarantine", "repair", ("repair",), pool="wordwave-gpu"),
    FlowDeployment("recheck", "repair", ("repair",), pool="wordwave-gpu"),
    FlowDeployment("undo-run", "repair", ("repair",)),
    FlowDeployment("forget-clips", "repair", ("repair",)),
    FlowDeployment("verify-run", "quality", ("check",), pool="wordwave-gpu"),
    FlowDeployment("count-words", "quality", ("check",)),
    FlowDeployment("upgrade-models", "models", ("models",), pool="wordwave-gpu"),
    FlowDeployment("promote-models", "models", ("models",)),
    FlowDeployment("choose-labeler", "models", ("models",), pool="wordwave-gpu"),
    FlowDeployment("learn-library", "models", ("library",), pool="wordwave-gpu"),
    FlowDeployment("compare-library", "models", ("library",), pool="wordwave-gpu"),
    FlowDeployment("doctor", "quality", ("check",), pool="wordwave-gpu"),
)


def local_deployments(libraries: Sequence[str] = ()) -> list["RunnerDeployment"]:
    """Return the deployments of all flows for this process to serve. Forms list the existing libraries."""
    return [local_deployment(deployed, libraries=libraries) for deployed in DEPLOYMENTS]


def local_deployment(
    deployed: FlowDeployment, name: str = DEPLOYMENT_NAME, *, libraries: Sequence[str] = (), **new: Any
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
        concurrency_limit=_limit(deployed.max_runs),
        entrypoint_type=EntrypointType.MODULE_PATH,
        **new,
    )
    # a field that is set would be emptied
    deployment.model_fields_set.difference_update({"parameters", "paused", "schedules"} - new.keys())
    deployment._parameter_openapi_schema = _closed_form(deployment._parameter_openapi_schema)
    _list_libraries(deployment._parameter_openapi_schema, libraries)
    return deployment


def _list_libraries(schema: "ParameterSchema", libraries: Sequence[str]) -> None:
    """List the existing libraries in the help of fields that name one. The field takes any text."""
    more = ", and more" if len(libraries) > MAX_LIBRARIES_IN_HELP else ""
    known = f" Available: {', '.join(libraries[:MAX_LIBRARIES_IN_HELP])}{more}." if libraries else ""
    for field in LIBRARY_FIELDS & schema.properties.keys():
        schema.properties[field]["description"] += known


def _closed_form(schema: "ParameterSchema") -> "ParameterSchema":
    """Return a form that refuses unknown parameters: the API would ignore a misspelled one."""
    from prefect.utilities.callables import ParameterSchema

    class ClosedSchema(ParameterSchema):
        additionalProperties: Literal[False]

    return ClosedSchema(**schema.model_dump(), additionalProperties=False)


def _limit(max_runs: int | None) -> "ConcurrencyLimitConfig | None":
    """Return a limit above which runs wait.

    A night keeps the day that it was due for, so a late one still does its own day. A cancelled one would
    leave a gap.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    if max_runs is None:
        return None
    return ConcurrencyLimitConfig(limit=max_runs, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
