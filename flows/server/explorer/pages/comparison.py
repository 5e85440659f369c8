"""Champion and challenger on the same clips: what moved, label by label, with examples to listen to."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.comparisons import SidesCompared, clips_at, get_comparison
from flows.server.explorer.query import reading
from flows.server.explorer.rendering import page

MAX_MOVES = 50


@dataclass(frozen=True)
class LabelCount:
    """A label: clips that each side gives it, those that both give it, and how these numbers differ."""

    label: str
    champion: int
    challenger: int
    both: int


def comparison(request: Request) -> Response:
    """Show what a run compared."""
    with reading(request) as session:
        found = get_comparison(session, _run(request))
        if found is None:
            raise HTTPException(404, "No comparison has this id. It may be of another database.")
        moves = found.moves[:MAX_MOVES]
        clips = clips_at(session, {uri for move in moves for uri in move["examples"]})
    return page("comparison.html", compared=found, labels=label_counts(found), moves=moves, clips=clips)


def label_counts(compared: SidesCompared) -> list[LabelCount]:
    """Return the labels with how often each side gives them, the most frequent first."""
    lost = _clips_by(compared, "before")
    won = _clips_by(compared, "after")
    labels = {*compared.kept, *lost, *won}
    both = {label: compared.kept.get(label, 0) for label in labels}
    rows = [LabelCount(one, both[one] + lost[one], both[one] + won[one], both[one]) for one in labels]
    return sorted(rows, key=lambda row: (-row.champion, -row.challenger, row.label))


def _clips_by(compared: SidesCompared, side: str) -> Mapping[str, int]:
    counts = Counter[str]()
    for move in compared.moves:
        counts[move[side]] += move["clips"]
    return counts


def _run(request: Request) -> UUID:
    try:
        return UUID(request.path_params["run"])
    except ValueError:
        raise HTTPException(404, "That is no id of a run.") from None
