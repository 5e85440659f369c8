"""The options of an evaluation: the one place that gives their names, types, defaults, bounds and help."""

from dataclasses import dataclass
from typing import Annotated, Literal

from core.evaluation.layouts import Layout, TaskName
from flows.pipeline.configuration.options import Option, request_fields
from flows.pipeline.labeling.request import LabelRequest, LayerChoice

Protocol = Literal["service", "paper"]
_LABELING = {name: field.option for name, field in request_fields(LabelRequest).items()}


@dataclass(frozen=True)
class EvaluationOptions:
    """The episodes of an evaluation, its prompts, and what to compare with.

    The layouts `prompts` and `ways` have columns of their own (core.evaluation.layouts), and `prompts` both
    kinds of layers; the other fields hold for every column. `layers` "auto", `window` 0 and `orders` 0 mean
    the values that the model was trained with.
    """

    layout: Annotated[
        Layout,
        Option(
            "Columns of the table. single: one column, as set here. prompts: those of the paper's Tables "
            "2 and 8 (instruction, shots, repeats) for both kinds of layers. ways: 2 to 6 labels, as in its "
            "Table 9."
        ),
    ] = "single"
    n_way: Annotated[int, Option("Labels of an episode. The layout ways sets it.", ge=2, le=64)] = 2
    k_shot: Annotated[
        int, Option("Demonstrations of each label in an episode. The layout prompts sets it.", ge=1, le=64)
    ] = 1
    episodes: Annotated[
        int, Option("Questions in each column of the table. The paper asks 600.", ge=1, le=100_000)
    ] = 600
    paper: Annotated[
        TaskName, Option("Task whose figures in the paper to compare with, where the paper has such columns.")
    ] = "none"
    protocol: Annotated[
        Protocol,
        Option(
            "service: ask about whole clips, in windows. paper: cut or pad clips to 1 second before they are "
            "encoded, and decode greedily."
        ),
    ] = "service"
    seed: Annotated[
        int,
        Option(
            "Seed of the episodes: the same seed draws the same ones from the same clips.", ge=0, lt=2**31
        ),
    ] = 0
    instruction: Annotated[
        bool, Option("Begin the prompt by naming the labels. The layout prompts sets it.")
    ] = True
    repeats: Annotated[int, _LABELING["repeats"]] = 0
    layers: Annotated[LayerChoice, _LABELING["layers"]] = "auto"
    window: Annotated[
        int,
        Option(
            "Semantic codes in a window, 8.3 a second. 0: as many as the LLM was trained on.", ge=0, le=512
        ),
    ] = 0
    max_windows: Annotated[int, _LABELING["max_windows"]] = 3
    orders: Annotated[int, _LABELING["orders"]] = 0


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest(EvaluationOptions):
    """All that decides the figures, apart from the models."""

    manifest: str
