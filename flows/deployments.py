"""Which flows are offered, to whom, and what holds them back: the one list behind the UI's forms.

`wordwave up` serves it in one process; prefect.yaml offers the same deployments to work pools.
"""

from dataclasses import dataclass
from datetime import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import ConcurrencyLimitConfig
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Schedule
    from prefect.utilities.callables import ParameterSchema

DEPLOYMENT = "wordwave"
"""What every flow's deployment is called: label-clips/wordwave."""
Pool = Literal["wordwave-cpu", "wordwave-gpu"]


@dataclass(frozen=True)
class Deployed:
    """One flow as it is offered. The flow's own description is the deployment's."""

    flow: str
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
        module = self.flow.replace("-", "_")
        return f"flows.{module}.{module}"

    def load(self) -> "Flow[..., Any]":
        """The flow itself."""
        module, _, name = self.entrypoint.rpartition(".")
        return cast("Flow[..., Any]", getattr(import_module(module), name))


NIGHTLY = Deployed("nightly-labeling", ("nightly",), pool="wordwave-gpu", at_once=1)
DEPLOYED = (
    Deployed("ingest-clips", ("job",)),
    Deployed("tokenize-clips", ("job",), pool="wordwave-gpu"),
    Deployed("build-library", ("library",), pool="wordwave-gpu"),
    Deployed("label-clips", ("job",), pool="wordwave-gpu"),
    Deployed("export-results", ("job",)),
    NIGHTLY,
    Deployed("label-shard", ("nightly",), pool="wordwave-gpu"),
    Deployed("backfill-labeling", ("nightly",), pool="wordwave-gpu"),
    Deployed("generate-speech", ("audio",), pool="wordwave-gpu"),
    Deployed("generate-sound", ("audio",), pool="wordwave-gpu"),
    Deployed("denoise-clips", ("audio",), pool="wordwave-gpu"),
    Deployed("evaluate-task", ("quality",), pool="wordwave-gpu"),
    Deployed("watch-place", ("quality",)),
    Deployed("replay-quarantine", ("repair",), pool="wordwave-gpu"),
    Deployed("recheck", ("repair",), pool="wordwave-gpu"),
    Deployed("undo-run", ("repair",)),
    Deployed("verify-run", ("repair",), pool="wordwave-gpu"),
    Deployed("upgrade-models", ("models",), pool="wordwave-gpu"),
    Deployed("promote-models", ("models",)),
    Deployed("doctor", ("repair",), pool="wordwave-gpu"),
)


@dataclass(frozen=True)
class Night:
    """When nightly-labeling runs by itself, and on what."""

    prefix: str
    library: str
    at: time
    timezone: str

    @property
    def parameters(self) -> dict[str, str]:
        """What the form would be filled with: the day before, with days as they are in the time zone.

        A schedule after noon says its time, so that no jump of the clocks takes it for one after midnight.
        """
        return {
            "prefix": self.prefix,
            "library": self.library,
            "day": "yesterday" if self.at.hour < 12 else f"yesterday@{self.at:%H:%M}",
            "timezone": self.timezone,
        }

    def schedule(self) -> "Schedule":
        """Every night; raises ValueError that names the parameter which the form would refuse."""
        from prefect.exceptions import ParameterTypeError
        from prefect.schedules import Cron

        try:
            NIGHTLY.load().validate_parameters(self.parameters)
        except ParameterTypeError as error:
            raise ValueError(f"the nightly run cannot be scheduled: {error}") from error
        cron = f"{self.at.minute} {self.at.hour} * * *"
        return Cron(cron, timezone=self.timezone, parameters=self.parameters, slug="nightly")


def served(night: Night | None = None) -> list["RunnerDeployment"]:
    """The deployments as one process serves them."""
    return [_served(deployed, night if deployed is NIGHTLY else None) for deployed in DEPLOYED]


def _served(deployed: Deployed, night: Night | None) -> "RunnerDeployment":
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    deployment = RunnerDeployment.from_flow(
        deployed.load(),
        name=DEPLOYMENT,
        tags=list(deployed.tags),
        schedule=night.schedule() if night else None,
        concurrency_limit=_limit(deployed.at_once),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # what is not given stays as people set it in the UI; a field that is set would be emptied
    deployment.model_fields_set.difference_update(
        {"parameters", "paused"} | (set() if night else {"schedules"})
    )
    deployment._parameter_openapi_schema = _closed(deployment._parameter_openapi_schema)
    return deployment


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
