"""Nights that are disturbed at random, by a seed, in a store and a database that somebody names."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import uuid4

from db.counted_days import count_marked_days
from db.engine import make_engine, session_scope
from flows.cli.torture.cleanup import delete_trial
from flows.cli.torture.sounds import broken_clip, clip
from flows.cli.torture.trial import SHOTS, Trial
from flows.flow_runs.explain import explain
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.ledger_check import Finding
from flows.pipeline.runtime.database import owner_url

CLIPS, NUMBERS, FIRST_CLIPS = 8, 30, 5
"""Names of clips, clips under them, and how many there are before the first night."""
CLIPS_OF_SEED = 1_000
"""No two seeds have a clip in common, so that they can be tried at once in one database."""
MOST_CHANGES, MOST_CALLS = 4, 80
KILLED_NIGHTS = 0.6
"""Share of nights that are killed before they are done again."""


@dataclass
class Report:
    """Counts of attempts, kills and clear refusals, and the faults that were found."""

    attempts: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    found: list[Finding] = field(default_factory=list)


def torture(settings: Settings, seed: int, nights: int, report_line: Callable[[str], None]) -> Report:
    """Disturb nights of a trial of its own, check after each step, and take everything out again."""
    with own_trial(settings, seed) as trial:
        return Torture(trial, seed, report_line).run(nights)


@contextmanager
def own_trial(settings: Settings, seed: int) -> Iterator[Trial]:
    """Open a trial under a new name; its rows and objects are deleted after the block.

    Raises ValueError before anything is written where the owner's address is missing: only the owner deletes.
    """
    owner = make_engine(owner_url(settings))
    trial = Trial(settings, f"torture-{uuid4().hex[:12]}", seed * CLIPS_OF_SEED)
    try:
        yield trial
    finally:
        trial.close()
        trial.clear()
        with session_scope(owner) as session:
            delete_trial(session, f"{trial.root}/", trial.name)
        count_marked_days(owner)
        owner.dispose()


class Torture:
    """Random steps on a trial. What the flows refuse in one clear line is refused here too, and counted."""

    def __init__(self, trial: Trial, seed: int, report_line: Callable[[str], None]) -> None:
        self._trial, self._rng, self._report_line, self.report = trial, Random(seed), report_line, Report()
        self._first_clip = seed * CLIPS_OF_SEED + NUMBERS

    def run(self, nights: int) -> Report:
        """Start with a few clips and a library, and do a few other things after each night."""
        for _ in range(FIRST_CLIPS):
            self._put()
        self._try("import library", lambda: self._trial.import_library(SHOTS[0]))
        for night in range(1, nights + 1):
            self._one_night()
            self._report_line(f"night {night} of {nights}: {len(self.report.found)} findings")
        return self.report

    def _one_night(self) -> None:
        for _ in range(self._rng.randint(1, MOST_CHANGES)):
            self._rng.choice(self._changes())()
        name, step = self._rng.choice([*self._nights().items()])
        if self._rng.random() < KILLED_NIGHTS:
            self._kill(name, step)
        self._try(name, step)
        self._found("checks of completed nights", self._trial.settle())

    def _nights(self) -> dict[str, Callable[[], None]]:
        trial = self._trial
        return {"night": trial.night, "night in shards": trial.sharded_night, "backfill": trial.backfill}

    def _changes(self) -> list[Callable[[], None]]:
        return [
            self._put,
            self._put,
            self._remove,
            self._import,
            self._undo,
            self._redo,
            self._promote,
            self._replay,
        ]

    def _put(self) -> None:
        name, number = f"{self._rng.randrange(CLIPS)}.wav", self._first_clip + self._rng.randrange(NUMBERS)
        make = broken_clip if self._rng.random() < 1 / CLIPS else clip
        self._try("put or overwrite", lambda: self._trial.put(name, make(number)))

    def _remove(self) -> None:
        if self._trial.put_clips:
            name = self._rng.choice(sorted(self._trial.put_clips))
            self._try("remove", lambda: self._trial.remove(name))

    def _import(self) -> None:
        shots = self._rng.choice(SHOTS)
        self._try("import library", lambda: self._trial.import_library(shots))

    def _undo(self) -> None:
        if runs := sorted({answer["run_id"] for answer in self._trial.ledger().answers}, key=str):
            run = self._rng.choice(runs)
            self._try("undo", lambda: self._trial.undo(run))

    def _redo(self) -> None:
        if self._trial.undone:
            run = self._rng.choice(self._trial.undone)
            self._try("undo an undoing", lambda: self._trial.undo(run))

    def _promote(self) -> None:
        version = self._rng.randint(1, len(SHOTS))
        self._try("promote", lambda: self._trial.promote(version))

    def _replay(self) -> None:
        self._try("replay quarantine", self._trial.replay)

    def _kill(self, name: str, step: Callable[[], None]) -> None:
        call = self._rng.randrange(MOST_CALLS)
        if self._trial.killed(step, call):
            self.report.killed[name] += 1
        self._found(f"{name} killed at call {call}", self._trial.check())

    def _try(self, name: str, step: Callable[[], None]) -> None:
        self.report.attempts[name] += 1
        try:
            step()
        except Exception as error:
            if explain(error) is None:
                raise
            self.report.refused[name] += 1
        self._found(name, self._trial.check())

    def _found(self, step: str, findings: list[Finding]) -> None:
        self.report.found += findings
        for finding in findings:
            self._report_line(f"after {step}: {finding}")


def summary_lines(report: Report) -> Iterator[str]:
    """Yield a table of the steps, and a line of what was found."""
    yield f"{'step':<28}{'tried':>7}{'killed':>8}{'refused':>9}"
    for step, count in sorted(report.attempts.items()):
        yield f"{step:<28}{count:>7}{report.killed[step]:>8}{report.refused[step]:>9}"
    kinds = Counter(finding.kind for finding in report.found)
    yield ", ".join(f"{kind} {kinds[kind]}" for kind in ("lost", "doubled", "torn", "wrong"))
