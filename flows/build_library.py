"""build-library: labelled clips become a frozen version of a library."""

from prefect.runtime import flow_run

from flows.artifacts.pages import library_page, library_rows, publish_page
from flows.flow_runs.end import completed
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.forms import LibraryInstruction, ManifestUri, NewLibraryName, Promote, Task
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.library_review import canary_line, name_of, review
from flows.pipeline.nights.jobs import import_manifest
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="build-library",
    **explained("library {library}"),
    description="Freeze the clips of a JSONL or CSV manifest as the next version of a library.",
)
def build_library(
    library: NewLibraryName,
    manifest: ManifestUri,
    task: Task = "label",
    instruction: LibraryInstruction = "",
    promote: Promote = False,
) -> dict[str, int]:
    """Equal content keeps its version, other content makes the next; the one in use stays, or is replaced."""
    runtime = shared_runtime(Settings())
    version, run = import_manifest(
        runtime, library, manifest, task, instruction or None, promote=promote, flow_run_id=flow_run.id
    )
    page = library_page(review(runtime, version), canary_line(runtime, version), run)
    publish_page("build-library", name_of(version), page, library_rows(version))
    line = f"{name_of(version)}: {len(version.demonstrations)} demonstrations"
    return completed({"version": version.version, **run.counts}, line)
