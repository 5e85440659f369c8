"""Print the tables of docs/capacity.md: what a year of nights and a backfill take.

`python -m benchmarks.capacity` computes them from the figures in figures.json, each of which a benchmark
measured. Nothing is measured here.
"""

from collections.abc import Iterator, Sequence

from benchmarks.capacity.plan import BACKFILL, YEAR, Figure, Plan, read_figures

DATABASE = ("codes", "answers", "clips", "copies", "latents", "statistics")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown, numbers to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"| --- |{' ---: |' * (len(head) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2g}"


def sizes(plans: Sequence[Plan]) -> Iterator[list[str]]:
    """Yield a row for each part of the database."""
    for name in DATABASE:
        yield [plans[0].figures[name].what, *(number(plan.gigabytes(name)) for plan in plans)]
    yield ["all of it", *(number(sum(map(plan.gigabytes, DATABASE))) for plan in plans)]
    for name in ("archived", "prefect"):
        what = plans[0].figures[name].what
        yield [f"beside it: {what}", *(number(plan.gigabytes(name)) for plan in plans)]


def requests(plans: Sequence[Plan]) -> Iterator[list[str]]:
    """Yield the rows on requests."""
    yield ["GET", *(number(plan.gets) for plan in plans)]
    yield ["LIST and PUT", *(number(plan.other_requests) for plan in plans)]
    yield ["dollars", *(number(plan.request_dollars) for plan in plans)]


def hours(plans: Sequence[Plan]) -> Iterator[list[str]]:
    """Yield a row for each set of models: hours of one worker, and workers for nights of a day."""
    for name in plans[0].hours:
        yield [name, *(f"{number(plan.hours[name])} ({number(plan.workers(name))})" for plan in plans)]


def walls(plan: Plan) -> Iterator[list[str]]:
    """Yield a row for each wall: its limit, what the load needs, and how often that fits."""
    for wall in plan.walls:
        kind = "in all" if wall.needed == plan.load.clips else "a night"
        yield [wall.what, number(wall.limit), f"{number(wall.needed)} {kind}", number(wall.share)]


def sources(figures: dict[str, Figure]) -> Iterator[list[str]]:
    """Yield a row for each figure."""
    for figure in figures.values():
        yield [figure.what, f"{number(figure.value)} {figure.unit}", f"`{figure.command}`", figure.date]


def page() -> str:
    """Return all tables."""
    figures = read_figures()
    plans = [Plan(load, figures) for load in (YEAR, BACKFILL)]
    loads = [plan.load.name for plan in plans]
    lines = [
        *("### Size of the database, in gigabytes", ""),
        *table(["", *loads], list(sizes(plans))),
        *("### Requests to S3", ""),
        *table(["", *loads], list(requests(plans))),
        *("### Hours of one worker with two cores (workers, for each night to end within a day)", ""),
        *table(["", *loads], list(hours(plans))),
        *("### Walls of the year, the nearest first", ""),
        *table(["what ends", "at clips", "needed", "times"], list(walls(plans[0]))),
        *("### Figures", ""),
        *table(["what", "measured", "command", "date"], list(sources(figures))),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page())
