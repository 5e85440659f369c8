"""Write prefect.yaml from the list of deployments: `python -m flows.server.prefect_yaml > prefect.yaml`."""

from flows.deployments import DEPLOYMENTS, NIGHTLY, FlowDeployment

HEAD = """\
# The same deployments as `wordwave up` serves, for work pools:
#
#   prefect work-pool create wordwave-cpu --type process
#   prefect work-pool create wordwave-gpu --type process
#   prefect deploy --all
#   prefect worker start --pool wordwave-gpu
#
# The package is installed where a worker runs, so nothing is pulled.
# Written by python -m flows.server.prefect_yaml, from flows/deployments.py.
name: wordwave
pull: []

definitions:
  pools:
    cpu: &cpu {name: wordwave-cpu}
    gpu: &gpu {name: wordwave-gpu}

deployments:
"""
PLACE = """\

  # A place that is labeled every night; add one like it for each. A schedule has no values: pauses empty it.
  - name: calls
    entrypoint: {entrypoint}
    tags: [nightly]
    work_pool: *gpu
    concurrency_limit: {{limit: 1, collision_strategy: ENQUEUE}}
    parameters: {{prefix: "s3://calls/{{day}}", library: sounds, day: yesterday, timezone: Europe/Berlin}}
    schedules:
      - slug: nightly
        cron: "0 2 * * *"
        timezone: Europe/Berlin
        active: false
"""


def render() -> str:
    """Return the text of prefect.yaml."""
    return HEAD + "\n".join(map(_entry, DEPLOYMENTS))


def _entry(deployed: FlowDeployment) -> str:
    lines = [
        f"  - name: {deployed.name.partition('/')[2]}",
        f"    entrypoint: {deployed.entrypoint}",
        f"    tags: [{', '.join(deployed.tags)}]",
        f"    work_pool: *{deployed.pool.removeprefix('wordwave-')}",
    ]
    if deployed.max_runs:
        lines.append("    # a run over the limit waits, and still does its own day")
        lines.append(f"    concurrency_limit: {{limit: {deployed.max_runs}, collision_strategy: ENQUEUE}}")
    place = PLACE.format(entrypoint=deployed.entrypoint) if deployed is NIGHTLY else ""
    return "\n".join(lines) + "\n" + place


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201
