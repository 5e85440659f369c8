"""Deployments of the release before still lead to their flows."""

from importlib import import_module

import pytest
from prefect.flows import load_flow_from_entrypoint

import flows
from flows.deployments import DEPLOYMENTS

NEWER = {"choose-labeler", "compare-library", "count-words", "forget-clips", "learn-library"}
"""Flows that the release before did not have."""
FORMER = [deployed for deployed in DEPLOYMENTS if deployed.flow not in NEWER]


@pytest.mark.parametrize("deployed", FORMER, ids=lambda deployed: deployed.flow)
def test_a_run_that_was_queued_before_the_upgrade_finds_its_flow(deployed: object) -> None:
    former = deployed.flow.replace("-", "_")  # type: ignore[attr-defined]
    assert load_flow_from_entrypoint(f"flows.{former}.{former}") is deployed.load()  # type: ignore[attr-defined]


def test_a_name_that_never_was_is_not_found() -> None:
    assert len(flows.FORMER_MODULES) == len(FORMER)
    with pytest.raises(ModuleNotFoundError):
        import_module("flows.label_all")
