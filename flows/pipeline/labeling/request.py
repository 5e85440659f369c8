"""The labeling options: the one place that gives their names, types, defaults, bounds and help.

Commands, forms and the pipeline all read them from here.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from flows.pipeline.configuration.options import Option
from flows.pipeline.libraries.library_option import LIBRARY

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
