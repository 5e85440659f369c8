"""What the images are made of: locked, without root, compilers or pip, from files that are there."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.recipes import ROOT, lineage, stages

IMAGES = ("cpu", "cuda")


def test_there_is_an_image_for_each_device_and_both_run_the_same_code() -> None:
    assert all(stages()[name].base == "runtime" for name in IMAGES)
    copied = [stages()[name].of("COPY") for name in IMAGES]
    assert copied == [[f"--from={name}-build /opt/wordwave /opt/wordwave"] for name in IMAGES]


def test_images_stand_on_one_pinned_python() -> None:
    outside = {stage.base for stage in stages().values()} - stages().keys()
    assert len(outside) == 1
    assert re.fullmatch(r"python:3\.1[12]\.\d+-slim-\w+", outside.pop())


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_an_ordinary_user(name: str) -> None:
    users = [user for stage in reversed(lineage(name)) for user in stage.of("USER")]
    assert users == ["10001:10001"]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_neither_compiler_nor_pip(name: str) -> None:
    ran = [command for stage in lineage(name) for command in stage.of("RUN")]
    assert not [command for command in ran if "apt-get" in command or "pip install" in command]
    assert any("pip uninstall --yes pip setuptools wheel" in command for command in ran)
    [venv] = [command for command in stages()[f"{name}-build"].of("RUN") if "-m venv" in command]
    assert "--without-pip" in venv


def test_every_installation_is_checked_by_hash_or_is_our_own_or_the_builders_torch() -> None:
    ran = [command for stage in stages().values() for command in stage.of("RUN")]
    installations = [part for command in ran for part in re.findall(r"pip install [^&]*", command)]
    ours = [part for part in installations if "--no-index --no-deps /wheels/*.whl" in part]
    torch = [part for part in installations if '--index-url "$TORCH_INDEX_URL" torch' in part]
    hashed = [part for part in installations if "--require-hashes --no-deps" in part]
    assert len(installations) == len(ours) + len(torch) + len(hashed) == 2 + 1 + 3
    assert all("--constraint /requirements.lock --no-deps" in part for part in torch)
    assert all("--no-build-isolation" in command for command in ran if "pip wheel" in command)


def pinned(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt", "requirements-cuda.txt"])
def test_what_is_checked_by_hash_is_of_the_locked_version(name: str) -> None:
    path, locked = ROOT / "docker" / name, pinned(ROOT / "requirements.lock")
    hashed = pinned(path)
    assert {one: version for one, version in hashed.items() if locked.get(one, version) != version} == {}
    blocks = re.split(r"\n(?=\S)", path.read_text())
    assert len(blocks) == len(hashed)
    assert all("--hash=sha256:" in block for block in blocks)


def test_every_dependency_is_among_the_hashed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    files = ("requirements.txt", "requirements-cuda.txt")
    hashed = set().union(*(pinned(ROOT / "docker" / name) for name in files))
    assert {canonicalize_name(Requirement(line).name) for line in asked} <= hashed


def test_the_lock_holds_what_only_images_need() -> None:
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert {"hatchling", "trove-classifiers", "prefect-redis", "torch"} <= locked


def test_the_index_of_cpu_wheels_is_the_builders_choice() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()
    assert stages()["cpu-build"].of("ARG") == ["TORCH_INDEX_URL"]
    assert "://" not in text


def test_every_copied_file_is_there_and_reaches_the_builder() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert rules[0] == "*"
    admitted = [rule[1:] for rule in rules if rule[0] == "!"]
    for stage in stages().values():
        for copied in stage.of("COPY"):
            if "--from=" in copied:
                continue
            *sources, _ = [word for word in copied.split() if not word.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, rule) for rule in admitted), source
