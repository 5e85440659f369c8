"""The ledger under random sequences of everything that can happen to it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from core.codec import LLMCodec
from core.presets import preset_directory
from db.embedded.server import EmbeddedServer
from flows.cli.torture.trial import Trial
from flows.pipeline.configuration.settings import MINI_CODEC, Settings
from tests.faults.ledger_machine import LedgerMachine, NewTrial
from tests.fixtures_postgres import migrated_database

FEW, MANY, STEPS = 4, 60, 12
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.fixture(scope="module")
def new_trial(postgres: EmbeddedServer, migrated_template: str) -> NewTrial:
    """Opens a trial with a folder and a database of its own; the codec is loaded once."""
    codec = LLMCodec.from_directory(preset_directory(MINI_CODEC), "cpu")

    @contextmanager
    def opened() -> Iterator[Trial]:
        home = tempfile.TemporaryDirectory()
        with home, migrated_database(postgres, migrated_template) as database:
            given = Settings(home=Path(home.name), database_url=database.url("writer"))
            trial = Trial(given, "trial", codec=codec)
            try:
                yield trial
            finally:
                trial.close()

    return opened


def check(new_trial: NewTrial, examples: int, *, derandomize: bool) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.new_trial = staticmethod(new_trial)
    bounds = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        suppress_health_check=SLOW,
        derandomize=derandomize,
    )
    run_state_machine_as_test(Machine, settings=bounds)


def test_a_few_sequences_break_no_invariant(new_trial: NewTrial) -> None:
    check(new_trial, FEW, derandomize=True)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_sequences_break_no_invariant(new_trial: NewTrial) -> None:
    check(new_trial, MANY, derandomize=False)
