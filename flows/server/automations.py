"""Automations of the Prefect server: mark runs whose process died, and alert people to failures."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows.deployments import DEPLOYMENTS, NIGHTLY
from flows.server.nights.places import longest_pause, scheduled_nights

if TYPE_CHECKING:
    from prefect.automations import AutomationCore
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

HEARTBEAT_SECONDS = 30
"""Time between two heartbeats of a run. It is the shortest that Prefect allows."""
SILENT_FOR = timedelta(seconds=4 * HEARTBEAT_SECONDS)
NIGHT_TAKES = timedelta(hours=2)
"""How much longer a night may take than the one before."""
MARK, FAILURE, FRESHNESS = (
    "wordwave: mark dead runs",
    "wordwave: a run failed",
    "wordwave: no night completed",
)
"""Names of automations. Each scheduled place has one that begins with FRESHNESS and ends in its own name."""
FAILED_STATES = ("Failed", "Crashed", "TimedOut", "Empty", "Doubtful")
"""Names of states that can be failures. Empty is not one if a night may have no clips."""


def update_automations(notification_block: str | None) -> str:
    """Update the server's automations, and return a sentence about who is alerted.

    `notification_block` is TYPE/NAME of a block that exists in Prefect, such as slack-webhook/operators. An
    automation that is already right is left alone, since an update resets how long it has waited. Places that
    get a schedule in the UI are watched from the next update on.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        block_id = _block_id(client, notification_block)
        automations = [_mark(), *(_alerts(block_id, scheduled_nights(client)) if block_id else ())]
        for automation in automations:
            _ensure(client, automation)
        wanted = {automation.name for automation in automations}
        for old in client.read_automations():
            if _is_alert(old.name) and old.name not in wanted:
                client.delete_automation(old.id)
    if block_id:
        return f"{notification_block} is alerted to failed runs and missing nights"
    if notification_block:
        return (
            f"nobody is alerted: there is no block {notification_block}; create it in the UI and start again"
        )
    return "nobody is alerted: set WORDWAVE_NOTIFICATION_BLOCK"


def alert_names(client: "SyncPrefectClient") -> set[str]:
    """Return the names of the automations that alert people to failed runs and to missing nights."""
    return {FAILURE, *map(_freshness_name, scheduled_nights(client))}


def _freshness_name(deployment: "DeploymentResponse") -> str:
    return f"{FRESHNESS}: {deployment.name}"


def _is_alert(name: str) -> bool:
    return name in (FAILURE, FRESHNESS) or name.startswith(f"{FRESHNESS}: ")


def _block_id(client: "SyncPrefectClient", block: str | None) -> Any:
    from prefect.exceptions import ObjectNotFound

    if block is None:
        return None
    kind, _, name = block.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound:
        return None


def _ensure(client: "SyncPrefectClient", automation: "AutomationCore") -> None:
    found = client.read_automations_by_name(automation.name)
    if not found:
        client.create_automation(automation)
    for old in found[:1]:
        automation.enabled = old.enabled  # somebody may have switched it off
        if _content(old) != _content(automation):
            client.update_automation(old.id, automation)


def _content(automation: Any) -> dict[str, Any]:
    content: dict[str, Any] = automation.model_dump(
        include={"description", "trigger", "actions"}, exclude={"trigger": {"id"}}
    )
    return content


def _mark() -> "AutomationCore":
    from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    return AutomationCore(
        name=MARK,
        description="Marks a run that sends no more heartbeats as crashed; the next run resumes its work.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat", "prefect.flow-run.Cancelling"},
            expect={"prefect.flow-run.*"},  # the next beat, or whatever a run's state is called when it rests
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=SILENT_FOR,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat from this run for {SILENT_FOR.seconds} seconds: its process died.",
            )
        ],
    )


def _alerts(block_id: Any, nights: "Iterable[DeploymentResponse]") -> "Iterator[AutomationCore]":
    yield _failure(block_id)
    for night in nights:
        yield _freshness(block_id, night)


def _failure(block_id: Any) -> "AutomationCore":
    from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification

    return AutomationCore(
        name=FAILURE,
        description="Reports every failed or crashed run of these flows, whatever its state is named.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in FAILED_STATES},
            match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": ["FAILED", "CRASHED"]},
            match_related=[
                {"prefect.resource.role": "deployment"},
                {"prefect.resource.role": "flow", "prefect.resource.name": [one.flow for one in DEPLOYMENTS]},
            ],
            posture=Posture.Reactive,
        ),
        actions=[
            SendNotification(
                block_document_id=block_id,
                subject="{{ flow.name }} {{ flow_run.state.name }}: {{ flow_run.name }}",
                body="{{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
            )
        ],
    )


def _freshness(block_id: Any, night: "DeploymentResponse") -> "AutomationCore":
    """Return the alert of one place: nights of others that complete do not silence it."""
    from prefect.automations import AutomationCore, EventTrigger, Posture, SendNotification

    name, within = f"{NIGHTLY.flow}/{night.name}", longest_pause(night.schedules) + NIGHT_TAKES
    return AutomationCore(
        name=_freshness_name(night),
        description=f"Reports that no run of {name} has completed for too long.",
        trigger=EventTrigger(
            # a doubtful night did its day; one without clips did none, whether it may be empty or not
            expect={"prefect.flow-run.Completed", "prefect.flow-run.Doubtful"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.role": "deployment",
                "prefect.resource.id": f"prefect.deployment.{night.id}",
            },
            posture=Posture.Proactive,
            within=within,
        ),
        actions=[
            SendNotification(
                block_document_id=block_id,
                subject=f"no {name} completed for {within.total_seconds() / 3600:.0f} hours",
                body=f"{night.parameters.get('prefix', 'Its place')} has no new labels. Find the cause, then "
                "backfill the missing nights.",
            )
        ],
    )
