"""The labeling options as forms and commands show them."""

from typing import Any

import click
import pytest
from pydantic import TypeAdapter

from flows.cli.options import request_options
from flows.forms import form_type
from flows.pipeline.configuration.options import request_fields
from flows.pipeline.labeling.request import LabelRequest

FORM_FIELDS: dict[str, dict[str, Any]] = {
    "min_margin": {
        "title": "Min margin",
        "description": "Mark an answer as uncertain if it leads the next label by less than this.",
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.0,
    },
    "labeler": {
        "title": "Labeler",
        "description": (
            "Labeler that answers. auto: the one chosen for the library version, by what each says of its "
            "clips. default: auto, but few-shot if WORDWAVE_LLM names an LLM. Or a name, such as few-shot, "
            "nearest-neighbour, mixture or logistic log-mel."
        ),
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$",
        "refusal": "write auto, default or the name of a labeler, such as few-shot",
        "default": "default",
    },
    "coverage": {
        "title": "Coverage",
        "description": (
            "Mark a clip as unknown if it is farther from all demonstrations than this share of clips of "
            "known labels. 0: no clip. -1: 0.9 where the labeler is chosen by auto, else 0."
        ),
        "type": "number",
        "minimum": -1,
        "exclusiveMaximum": 1,
        "default": -1.0,
    },
    "events": {
        "title": "Events",
        "description": (
            "Also find when in a clip each label is heard, by the windows of an embedding model. Clips whose "
            "windows are not stored are read again once."
        ),
        "type": "boolean",
        "default": False,
    },
    "k_shot": {
        "title": "K shot",
        "description": "Demonstrations of each label to use, the first of the library. 0: all.",
        "type": "integer",
        "minimum": 0,
        "maximum": 64,
        "default": 0,
    },
    "nearest_shots": {
        "title": "Nearest shots",
        "description": (
            "Show each clip only this many demonstrations of each label: those nearest to it by sound, among "
            "the ones that k_shot uses. Each new combination is another prompt for the LLM to read. 0: show "
            "all of them to every clip."
        ),
        "type": "integer",
        "minimum": 0,
        "maximum": 64,
        "default": 0,
    },
    "layers": {
        "title": "Layers",
        "description": (
            "Codes to show to the LLM: the semantic layer, all three layers, or what it was trained on."
        ),
        "type": "string",
        "enum": ["auto", "semantic", "semantic+acoustic"],
        "default": "auto",
    },
    "repeats": {
        "title": "Repeats",
        "description": "Extra passes of the prompt over its demonstrations.",
        "type": "integer",
        "minimum": 0,
        "maximum": 16,
        "default": 0,
    },
    "max_windows": {
        "title": "Max windows",
        "description": "Windows of a long clip to ask about, at most; the loudest are used.",
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 3,
    },
    "orders": {
        "title": "Orders",
        "description": (
            "Prompts to average, each with the demonstrations in another order. 0: as many as the LLM was "
            "trained for."
        ),
        "type": "integer",
        "minimum": 0,
        "maximum": 16,
        "default": 0,
    },
}
"""What the forms of all labeling flows have in common; the flows' own fields are in tests/flows/schemas."""


@click.command()
@request_options(LabelRequest)
def command(**_: object) -> None:
    """Take the options of a request."""


def option(name: str) -> Any:
    """One option of the command."""
    return next(one for one in command.params if one.name == name)


def test_a_form_shows_each_option_with_its_bounds_default_and_help() -> None:
    fields = dict(request_fields(LabelRequest))
    assert fields.pop("library").is_required
    shown = {
        name: TypeAdapter(form_type(field)).json_schema() | {"default": field.default}
        for name, field in fields.items()
    }
    assert shown == FORM_FIELDS


@pytest.mark.parametrize("name", FORM_FIELDS)
def test_a_command_has_the_same_name_default_bounds_and_help(name: str) -> None:
    field, shown = FORM_FIELDS[name], option(name)
    assert shown.opts == [f"--{name.replace('_', '-')}"]
    assert (shown.default, shown.help) == (field["default"], field["description"])
    if "enum" in field:
        assert list(shown.type.choices) == field["enum"]
    elif field["type"] == "boolean":
        assert shown.is_flag
    elif "pattern" in field:
        assert shown.metavar == "NAME"
    else:
        bounds = field["minimum"], field.get("maximum", field.get("exclusiveMaximum"))
        assert (shown.type.min, shown.type.max) == bounds


def test_a_command_has_to_name_a_library() -> None:
    assert option("library").required
    assert option("library").metavar == "NAME[@VERSION]"
