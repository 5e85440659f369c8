"""kubectl and what it makes of the manifests, once for all tests."""

from pathlib import Path

import pytest

from tests.docker.manifests import OVERLAYS, Cluster, render, unpack_kubectl


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_kubectl(tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session", params=OVERLAYS)
def cluster(
    kubectl: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Cluster:
    return render(kubectl, request.param, tmp_path_factory.mktemp("overlay"))
