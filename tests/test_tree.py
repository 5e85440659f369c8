"""The tree of core, db and flows: a name means one thing, imports have no circle, a folder fits a screen."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("core", "db", "flows")
MAX_ENTRIES = 12
TOP_ENTRIES = {"core": 15, "flows": 15}
FLAT = {"db"}
"""Folders of one file per topic, which are listed by that."""


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT)


def entries(folder: Path) -> set[str]:
    """The modules and packages of a folder."""
    return {path.relative_to(folder).parts[0] for path in sources() if folder in path.parents} - {
        "__init__.py"
    }


def test_no_two_classes_have_one_name() -> None:
    names = defaultdict(list)
    for path in sources():
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                names[node.name].append(str(path))
    assert {name: places for name, places in names.items() if len(places) > 1} == {}


def test_imports_have_no_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    TopologicalSorter({one: graph.find_modules_directly_imported_by(one) for one in graph.modules}).prepare()


def test_a_folder_has_at_most_twelve_modules_and_packages() -> None:
    folders = {folder for path in sources() for folder in path.parents[:-1]}
    counts = {str(folder): len(entries(folder)) for folder in folders if str(folder) not in FLAT}
    assert {name: n for name, n in counts.items() if n > TOP_ENTRIES.get(name, MAX_ENTRIES)} == {}
