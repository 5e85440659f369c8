"""recheck: clips that were stored before today's checks are read again."""

from prefect.runtime import flow_run

from flows.artifacts.pages import publish_page, refused_library_lines, summary, suspect_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed, completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.forms import DryRun, Folder
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.recheck import recheck_place, suspects_of
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="recheck",
    **explained("recheck {prefix}"),
    description="Read clips again that were stored before today's checks, and mend what came of wrong audio.",
    task_runner=batch_threads(),
)
def recheck(prefix: Folder, dry_run: DryRun = False) -> dict[str, int]:
    """Show what is suspect, then settle it; a dry run only shows it."""
    runtime = shared_runtime(Settings())
    suspects = suspects_of(runtime, prefix)
    if dry_run:
        publish_page(
            "recheck",
            prefix,
            f"## {sum(found.contents for found in suspects)} contents are suspect",
            suspect_rows(suspects),
        )
        found = {one.kind: one.contents for one in suspects}
        return completed(found, f"dry run: {sum(found.values())} contents are suspect")
    done = recheck_place(runtime, prefix, in_tasks, flow_run_id=flow_run.id)
    page = summary(prefix, done.run, refused_library_lines(done.libraries))
    publish_page("recheck", prefix, page, suspect_rows(suspects))
    return completed_with(dict(done.run.counts), done.run.counts)
