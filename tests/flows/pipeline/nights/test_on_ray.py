"""How batches are handed to actors of Ray, tried with actors that end when the test says so."""

import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from db.runs import RunClaim
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.nights.jobs import ShardsFailed
from flows.pipeline.nights.on_ray import TRIES, _Actors, _actors_of, on_ray, open_cluster
from flows.pipeline.nights.ray_worker import BatchWorker, SharedNight
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.outage import Away
from flows.pipeline.runtime.resources import BATCHES_AT_ONCE

NIGHT = SharedNight(RunClaim(uuid4(), 1), "s3://calls", LabelRequest("sounds"), "other", b"")
Outcome = Callable[[], Any]


class RayError(Exception):
    """Stands for a lost actor."""


class RayTaskError(RayError):
    """Stands for an error of the batch."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class FakeCall:
    """A method of an actor: what it returns is known when it is called."""

    def __init__(self, call: Callable[..., Outcome]) -> None:
        self._call = call

    def options(self, **_: object) -> "FakeCall":
        return self

    def remote(self, *arguments: Any) -> Outcome:
        return self._call(*arguments)


class FakeRay:
    """A cluster of nodes; `outcomes` has what each call of a batch does, in their order, else it is done."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, nodes: Sequence[dict[str, float]], outcomes: Sequence[Exception | None] = ()) -> None:
        self._nodes, self._outcomes = nodes, iter(outcomes)
        self.calls: list[tuple[int, Any]] = []
        self.under_way = self.most_under_way = self.started = 0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": resources} for resources in self._nodes]

    def remote(self, _: type) -> Any:
        return SimpleNamespace(options=lambda **_: FakeCall(lambda _: self._actor()))

    def _actor(self) -> Any:
        self.started += 1
        number = self.started
        ready, work = FakeCall(lambda: lambda: True), FakeCall(lambda *asked: self._work(number, asked[2]))
        return SimpleNamespace(is_ready=ready, work=work)

    def _work(self, actor: int, batch: Any) -> Outcome:
        self.calls.append((actor, batch))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        error = next(self._outcomes, None)

        def outcome() -> Any:
            self.under_way -= 1
            if error is not None:
                raise error
            return Counts(done=len(batch)), {"batches/label/": 1.0}

        return outcome

    def wait(self, refs: Sequence[Outcome], timeout: float) -> tuple[list[Outcome], list[Outcome]]:
        return [refs[-1]], list(refs[:-1])

    def get(self, ref: Outcome) -> Any:
        return ref()


def actors(ray: FakeRay, **settings: Any) -> _Actors:
    return _Actors(ray, Settings(**settings), NIGHT)


def done(found: Iterator[tuple[Counts, Any]]) -> Counts:
    return sum((counts for counts, _ in found), Counts())


def test_without_a_cluster_in_the_settings_a_night_is_not_distributed() -> None:
    assert on_ray(Settings()) is None
    assert on_ray(Settings(ray="local")) is not None


def test_an_address_that_ray_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="write local, auto or HOST:PORT"):
        Settings(ray="http://head:8265/")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast(dict[str, Any], sys.modules), "ray", None)
    with (
        pytest.raises(ImportError, match=r"pip install 'wordwave\[ray\]'"),
        open_cluster(Settings(ray="local")),
    ):
        pass


@pytest.mark.parametrize(
    ("nodes", "wanted", "expected"),
    [
        ([{}, {"CPU": 8, "GPU": 4}, {"CPU": 8, "GPU": 2}], None, (6, {"num_cpus": 1, "num_gpus": 1})),
        ([{"CPU": 8, "GPU": 1}], 2, (2, {"num_cpus": 1, "num_gpus": 0.5})),
        ([{"CPU": 8, "GPU": 2}], 3, (3, {"num_cpus": 1, "num_gpus": 0.5})),
        ([{}, {"CPU": 8}, {"CPU": 4}], None, (2, {"num_cpus": 4})),
        ([{"CPU": 3}, {"CPU": 3}], 3, (3, {"num_cpus": 1})),
        ([{"CPU": 8}], None, (1, {"num_cpus": 8})),
        ([{"CPU": 8}], 4, (4, {"num_cpus": 2})),
        ([{"CPU": 1}], 4, (4, {"num_cpus": 1})),
    ],
)
def test_there_is_an_actor_for_each_device(
    nodes: list[dict[str, float]], wanted: int | None, expected: object
) -> None:
    assert _actors_of(FakeRay(nodes), wanted) == expected


def test_a_cluster_without_cpus_is_an_error() -> None:
    with pytest.raises(ShardsFailed, match="no node with a CPU"):
        _actors_of(FakeRay([{}]), None)


def test_each_actor_has_at_most_two_batches_and_is_kept_from_stage_to_stage() -> None:
    ray = FakeRay([{"CPU": 1}, {"CPU": 1}])
    both = actors(ray)
    assert done(both.work("tokenize", [[n] for n in range(20)])) == Counts(done=20)
    assert done(both.work("label", [[n, n] for n in range(10)])) == Counts(done=20)
    assert sorted(batch for _, batch in ray.calls[:20]) == [[n] for n in range(20)]
    assert {actor for actor, _ in ray.calls} == {1, 2}
    assert (ray.started, ray.most_under_way) == (2, 2 * BATCHES_AT_ONCE)


def test_no_actor_is_started_where_nothing_is_to_be_done() -> None:
    ray = FakeRay([{"CPU": 1}])
    assert done(actors(ray).work("label", [])) == Counts()
    assert ray.started == 0


def test_a_batch_whose_actor_is_lost_is_done_again() -> None:
    ray = FakeRay([{"CPU": 1}, {"CPU": 1}], [None, RayError(), RayError()])
    assert done(actors(ray).work("label", [[n] for n in range(9)])) == Counts(done=9)
    assert len(ray.calls) == 9 + 2


def test_a_batch_that_costs_several_actors_ends_the_night() -> None:
    ray = FakeRay([{"CPU": 1}], [RayError()] * TRIES)
    with pytest.raises(ShardsFailed, match="label batch 1: 3 actors of Ray were lost over it"):
        done(actors(ray).work("label", [[1]]))


def test_the_error_of_a_batch_is_that_of_the_night() -> None:
    ray = FakeRay([{"CPU": 1}], [RayTaskError(Away("the store", 1, "refused"))])
    with pytest.raises(Away, match="the store is away"):
        done(actors(ray).work("label", [[1], [2]]))


def test_a_node_with_other_code_does_not_work_on_a_night() -> None:
    with pytest.raises(ValueError, match="has code other, this node of Ray has"):
        BatchWorker(NIGHT)
