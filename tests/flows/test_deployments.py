"""Every flow is offered once, and the nightly run alone waits for its like."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import flows
from flows.deployments import DEPLOYMENTS, NIGHTLY, local_deployments
from flows.flow_runs.form_flow import FormFlow


def test_every_flow_is_offered() -> None:
    modules = {deployed.module for deployed in DEPLOYMENTS}
    files = {file.stem for file in Path(flows.__file__).parent.glob("*.py") if "\n@flow(" in file.read_text()}
    assert modules == files
    written = {
        value.name
        for module in modules
        for value in vars(import_module(f"flows.{module}")).values()
        if isinstance(value, FormFlow)
    }
    assert {deployed.flow for deployed in DEPLOYMENTS} == written
    assert len(DEPLOYMENTS) == len(written)


def test_each_deployment_leads_to_its_flow_by_module() -> None:
    for deployed, deployment in zip(DEPLOYMENTS, local_deployments(), strict=True):
        assert deployed.load().name == deployed.flow
        assert deployment.full_name == deployed.name
        assert deployment.entrypoint == deployed.entrypoint
        assert deployment.description
        assert deployment.tags == list(deployed.tags)
        assert deployment.enforce_parameter_schema


def test_one_nightly_run_works_and_the_next_one_waits() -> None:
    limits = {
        deployment.flow_name: deployment for deployment in local_deployments() if deployment.concurrency_limit
    }
    assert limits.keys() == {NIGHTLY.flow}
    nightly = limits[NIGHTLY.flow]
    assert nightly.concurrency_limit == 1
    assert nightly.concurrency_options
    assert nightly.concurrency_options.collision_strategy == "ENQUEUE"


def test_what_people_set_in_the_ui_is_not_sent_again() -> None:
    for deployment in local_deployments():
        assert not deployment.model_fields_set & {"parameters", "paused", "schedules"}


def test_a_parameter_that_no_form_has_is_refused_and_named(worker: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    for deployment in local_deployments():
        deployment.apply()
    asked = {"prefix": "s3://calls", "library": "sounds", "k_shoot": 3}
    with get_client(sync_client=True) as client:
        for deployed in DEPLOYMENTS:
            offered = client.read_deployment_by_name(deployed.name)
            assert offered.parameter_openapi_schema
            assert offered.parameter_openapi_schema["additionalProperties"] is False
        nightly = client.read_deployment_by_name(NIGHTLY.name)
        with pytest.raises(PrefectHTTPStatusError, match="'k_shoot' was unexpected") as refused:
            client.create_flow_run_from_deployment(nightly.id, parameters=asked)
    assert refused.value.response.status_code == 409


def forms() -> dict[str, dict[str, Any]]:
    """The fields of each flow's form."""
    return {
        one.flow_name: one._parameter_openapi_schema.properties
        for one in local_deployments()
        if one.flow_name
    }


def test_a_field_is_titled_as_its_parameter_is_called() -> None:
    for flow, fields in forms().items():
        titles = {name: field["title"] for name, field in fields.items()}
        assert titles == {name: name.replace("_", " ").capitalize() for name in fields}, flow


def test_a_day_is_offered_where_it_is_filled_in() -> None:
    filled_in = {"day", "first_day"}
    for flow, fields in forms().items():
        if (
            "prefix" in fields and flow != "watch-place"
        ):  # which says what the nights of a prefix have to keep
            assert ("{day}" in fields["prefix"]["description"]) == bool(filled_in & fields.keys()), flow


def test_whether_anything_is_done_is_asked_before_how() -> None:
    for flow, fields in forms().items():
        places = {name: field["position"] for name, field in fields.items()}
        assert places.get("dry_run", 0) <= 2, flow
        expert = [places[name] for name in ("layers", "repeats", "max_windows", "orders") if name in places]
        assert not [name for name in fields if expert and places[name] > max(expert)], flow


def test_the_help_names_the_libraries_that_there_are() -> None:
    nightly = next(one for one in local_deployments(["birds", "sounds"]) if one.flow_name == NIGHTLY.flow)
    fields = nightly._parameter_openapi_schema.properties
    assert fields["library"]["description"].endswith("NAME@VERSION. Available: birds, sounds.")
    assert fields["canary_library"]["description"].endswith(" Available: birds, sounds.")
    many = local_deployments([f"library{number:02}" for number in range(30)])[2]
    said = many._parameter_openapi_schema.properties["library"]["description"]
    assert said.endswith("library19, and more.")
    assert "Available" not in str(forms())
