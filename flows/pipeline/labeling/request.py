"""The labeling options: the one place that gives their names, types, defaults, bounds and help.

Commands, forms and the pipeline all read them from here.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from flows.pipeline.configuration.options import Option, Rule
from flows.pipeline.libraries.library_option import LIBRARY

DEFAULT, AUTO = "default", "auto"
"""Ways to ask for a labeler without naming it."""
LABELER_RULE = Rule(
    r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$", "write auto, default or the name of a labeler, such as few-shot"
)
LayerChoice = Literal["auto", "semantic", "semantic+acoustic"]


@dataclass(frozen=True)
class LabelRequest:
    """The library to label by, and how to ask the models: with them, it decides the answers.

    A model that does not say how it was trained is asked by the semantic layer and once.
    """

    library: Annotated[str, LIBRARY]
    min_margin: Annotated[
        float, Option("Mark an answer as uncertain if it leads the next label by less than this.", ge=0, le=1)
    ] = 0.0
    labeler: Annotated[
        str,
        Option(
            "Labeler that answers. auto: the one chosen for the library version, by what each says of its "
            "clips. default: auto, but few-shot if WORDWAVE_LLM names an LLM. Or a name, such as "
            "few-shot, nearest-neighbour, mixture or logistic log-mel.",
            rule=LABELER_RULE,
            metavar="NAME",
        ),
    ] = DEFAULT
    coverage: Annotated[
        float,
        Option(
            "Mark a clip as unknown if it is farther from all demonstrations than this share of clips of "
            "known labels. 0: no clip. -1: 0.9 where the labeler is chosen by auto, else 0.",
            ge=-1,
            lt=1,
        ),
    ] = -1.0
    events: Annotated[
        bool,
        Option(
            "Also find when in a clip each label is heard, by the windows of an embedding model. Clips whose "
            "windows are not stored are read again once."
        ),
    ] = False
    k_shot: Annotated[
        int, Option("Demonstrations of each label to use, the first of the library. 0: all.", ge=0, le=64)
    ] = 0
    nearest_shots: Annotated[
        int,
        Option(
            "Show each clip only this many demonstrations of each label: those nearest to it by sound, among "
            "the ones that k_shot uses. Each new combination is another prompt for the LLM to read. 0: show "
            "all of them to every clip.",
            ge=0,
            le=64,
        ),
    ] = 0
    layers: Annotated[
        LayerChoice,
        Option("Codes to show to the LLM: the semantic layer, all three layers, or what it was trained on."),
    ] = "auto"
    repeats: Annotated[int, Option("Extra passes of the prompt over its demonstrations.", ge=0, le=16)] = 0
    max_windows: Annotated[
        int, Option("Windows of a long clip to ask about, at most; the loudest are used.", ge=1, le=100)
    ] = 3
    orders: Annotated[
        int,
        Option(
            "Prompts to average, each with the demonstrations in another order. 0: as many as the LLM was "
            "trained for.",
            ge=0,
            le=16,
        ),
    ] = 0
