"""build-library: labelled clips become a frozen version of a library."""

from prefect import flow
from prefect.runtime import flow_run

from flows.artifacts import library_rows, publish
from flows.parameters import LibraryInstruction, ManifestUri, NewLibraryName, Task
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.job import import_manifest


@flow(
    name="build-library",
    flow_run_name="library {library}",
    description="Freeze the clips of a JSONL or CSV manifest as the next version of a library.",
)
def build_library(
    library: NewLibraryName,
    manifest: ManifestUri,
    task: Task = "label",
    instruction: LibraryInstruction = "",
) -> dict[str, int]:
    """Equal content keeps its version, other content makes the next one."""
    runtime = shared_runtime(Settings())
    version, run = import_manifest(
        runtime, library, manifest, task, instruction or None, flow_run_id=flow_run.id
    )
    publish("build-library", f"{version.name}@{version.version}", run, library_rows(version))
    return {"version": version.version, **run.counts}
