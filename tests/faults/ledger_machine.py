"""The ledger as a machine: whatever people, nights and kills do in whatever order, its invariants hold."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from flows.cli.torture.run import CLIPS, NUMBERS
from flows.cli.torture.sounds import broken_clip, clip
from flows.cli.torture.trial import SHOTS, Trial
from flows.flow_runs.explain import explain

FIRST_CLIP, MOST_CALLS = 100, 90
NewTrial = Callable[[], AbstractContextManager[Trial]]
NIGHTS = ("night", "sharded_night", "backfill")


@contextmanager
def clearly_refused() -> Iterator[None]:
    """Let pass what people are told in one line; anything else is a bug."""
    try:
        yield
    except Exception as error:
        if explain(error) is None:
            raise


class LedgerMachine(RuleBasedStateMachine):
    """Rules are what can happen; `new_trial` is set by the test that runs it."""

    new_trial: NewTrial
    clips = Bundle("clips")

    def __init__(self) -> None:
        super().__init__()
        self._opened = self.new_trial()
        self.trial = self._opened.__enter__()

    def teardown(self) -> None:
        """End the trial, whatever came of it."""
        self._opened.__exit__(None, None, None)

    @initialize(shots=st.sampled_from(SHOTS))
    def begin(self, shots: int) -> None:
        """Nothing can be asked without a library."""
        self.trial.import_library(shots)
        self.trial.put("first.wav", clip(FIRST_CLIP))

    @rule(target=clips, number=st.integers(0, NUMBERS), name=st.integers(0, CLIPS), is_broken=st.booleans())
    def put(self, number: int, name: int, is_broken: bool) -> str:
        """Put a clip, or overwrite one."""
        made = broken_clip if is_broken and number % 4 == 0 else clip
        self.trial.put(f"{name}.wav", made(FIRST_CLIP + number))
        return f"{name}.wav"

    @rule(name=clips)
    def remove(self, name: str) -> None:
        """Remove a clip, if nobody has yet."""
        if name in self.trial.put_clips:
            self.trial.remove(name)

    @rule(shots=st.sampled_from(SHOTS))
    def import_library(self, shots: int) -> None:
        """Import a version that is new, or there already."""
        self.trial.import_library(shots)

    @rule(kind=st.sampled_from(NIGHTS))
    def night(self, kind: str) -> None:
        """Do a night, alone or in shards, or as a backfill of today."""
        getattr(self.trial, kind)()

    @rule(kind=st.sampled_from(NIGHTS), call=st.integers(0, MOST_CALLS))
    def killed_night(self, kind: str, call: int) -> None:
        """Kill a night at one of its calls."""
        self.trial.killed(getattr(self.trial, kind), call)

    @rule(which=st.integers(0, 5), call=st.none() | st.integers(0, 20))
    def undo(self, which: int, call: int | None) -> None:
        """Undo a run that wrote answers, perhaps killed on the way."""
        runs = sorted({answer["run_id"] for answer in self.trial.ledger().answers}, key=str)
        if runs:
            self._possibly_killed(lambda: self.trial.undo(runs[which % len(runs)]), call)

    @precondition(lambda self: self.trial.undone)
    @rule(which=st.integers(0, 5))
    def redo(self, which: int) -> None:
        """Undo an undoing."""
        with clearly_refused():
            self.trial.undo(self.trial.undone[which % len(self.trial.undone)])

    @rule(version=st.integers(1, len(SHOTS)))
    def promote(self, version: int) -> None:
        """Promote a version, which may have no answers."""
        with clearly_refused():
            self.trial.promote(version)

    @rule(call=st.none() | st.integers(0, 40))
    def replay(self, call: int | None) -> None:
        """Replay the quarantine, perhaps killed on the way."""
        self._possibly_killed(self.trial.replay, call)

    @rule()
    def settle(self) -> None:
        """Do a night to its end, and another one: all is answered, and the second writes nothing."""
        assert list(map(str, self.trial.settle())) == []

    @invariant()
    def holds(self) -> None:
        """Check what holds at every moment."""
        assert list(map(str, self.trial.check())) == []

    def _possibly_killed(self, step: Callable[[], None], call: int | None) -> None:
        with clearly_refused():
            if call is None:
                step()
            else:
                self.trial.killed(step, call)
