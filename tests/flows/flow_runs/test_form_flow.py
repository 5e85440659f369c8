"""A run whose values are missing or wrong fails at once, in a sentence that names them."""

from typing import Any

import pytest

from flows.deployments import DEPLOYMENTS, NIGHTLY, FlowDeployment, local_deployments
from flows.flow_runs.form_flow import FormRefused, check_values

WRONG = {"prefix": "calls/{day}", "library": "sounds@0", "timezone": "Europe/Berln", "k_shot": 65}


@pytest.mark.parametrize("deployed", [one for one in DEPLOYMENTS if one.load().parameters.required])
def test_a_scheduled_run_without_values_fails_and_says_which(
    prefect_server: None, deployed: FlowDeployment
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    flow = deployed.load()
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(flow, parameters={})
        with pytest.raises(FormRefused):
            run_flow(flow, flow_run=run)
        state = client.read_flow_run(run.id).state
    assert state
    assert state.is_failed()
    for name in flow.parameters.required:
        assert f"{name}: missing; set it in the form" in str(state.message)
    assert "\n" not in str(state.message)


def test_each_value_that_is_wrong_is_named_and_the_sentence_says_what_to_write() -> None:
    with pytest.raises(FormRefused) as refused:
        check_values(NIGHTLY.load(), WRONG)
    said = str(refused.value).split("; ")
    assert [sentence.partition(":")[0] for sentence in said if ":" in sentence][-1] == "k_shot"
    assert "did you mean Europe/Berlin?" in str(refused.value)
    assert "^" not in str(refused.value)


def test_the_form_still_asks_for_what_is_required() -> None:
    for deployed, deployment in zip(DEPLOYMENTS, local_deployments(), strict=True):
        schema: Any = deployment._parameter_openapi_schema.model_dump()
        assert schema["required"] == deployed.load().parameters.required
        assert not [name for name in schema["required"] if "default" in schema["properties"][name]]


def test_a_value_that_no_field_has_is_named() -> None:
    with pytest.raises(FormRefused, match="nightly-labeling has no parameter k_shoot"):
        check_values(NIGHTLY.load(), {"prefix": "s3://calls", "library": "sounds", "k_shoot": 3})
