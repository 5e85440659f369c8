"""The flows of wordwave, and what runs them."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Before torch is loaded: threads that wait for a share of a small product would spin, and take the cores from
# decoding, Postgres and whatever else the machine does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FORMER_MODULES = {
    "flows.ingest_clips": "flows.steps",
    "flows.tokenize_clips": "flows.steps",
    "flows.build_library": "flows.steps",
    "flows.label_clips": "flows.steps",
    "flows.export_results": "flows.steps",
    "flows.nightly_labeling": "flows.nightly",
    "flows.label_shard": "flows.nightly",
    "flows.backfill_labeling": "flows.nightly",
    "flows.generate_speech": "flows.generation",
    "flows.generate_sound": "flows.generation",
    "flows.denoise_clips": "flows.generation",
    "flows.evaluate_task": "flows.quality",
    "flows.watch_place": "flows.quality",
    "flows.verify_run": "flows.quality",
    "flows.doctor": "flows.quality",
    "flows.replay_quarantine": "flows.repair",
    "flows.recheck": "flows.repair",
    "flows.undo_run": "flows.repair",
    "flows.upgrade_models": "flows.models",
    "flows.promote_models": "flows.models",
}


class FormerModules(MetaPathFinder, Loader):
    """Find flows under the module names that deployments of release 0.1 have as entry points."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a former name only."""
        return ModuleSpec(fullname, self) if fullname in FORMER_MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module of today."""
        return import_module(FORMER_MODULES[spec.name])

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has run already."""


sys.meta_path.append(FormerModules())
