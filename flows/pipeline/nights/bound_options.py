"""The bounds of a place: the one place that gives their names, defaults, limits and help."""

from dataclasses import dataclass
from typing import Annotated

from flows.pipeline.configuration.options import Option


@dataclass(frozen=True)
class BoundOptions:
    """What db.watches.Bounds holds, as forms and commands show it."""

    max_quarantined: Annotated[
        float, Option("Largest share of a night's clips that may be quarantined. 1: no bound.", ge=0, le=1)
    ] = 1.0
    max_uncertain: Annotated[
        float, Option("Largest share of a night's answers that may be uncertain. 1: no bound.", ge=0, le=1)
    ] = 1.0
    max_one_label: Annotated[
        float, Option("Largest share of the answers that one label may have. 1: no bound.", ge=0, le=1)
    ] = 1.0
    least_agreement: Annotated[
        float,
        Option(
            "Smallest share of the answers that must match the nearest demonstration, by tokens and by "
            "pooled latent. 0: no bound.",
            ge=0,
            le=1,
        ),
    ] = 0.0
    least_usual: Annotated[
        float,
        Option(
            "Smallest number of clips in a night, as a share of the usual number: the median of the last "
            "four nights of that weekday. 0: no bound.",
            ge=0,
            le=1,
        ),
    ] = 0.0
    most_usual: Annotated[
        float,
        Option(
            "Largest number of clips in a night, as a multiple of the usual number. 0: no bound.",
            ge=0,
            le=1000,
        ),
    ] = 0.0
    max_unknown: Annotated[
        float,
        Option(
            "Largest share of a night's answered clips that may be far from every demonstration. 1: no "
            "bound.",
            ge=0,
            le=1,
        ),
    ] = 1.0
    keep_days: Annotated[
        int,
        Option(
            "Days after which a clip that is in no listing any more is forgotten, at the end of a night. 0: "
            "never.",
            ge=0,
            le=36_500,
        ),
    ] = 0
