"""The page of flows: each deployment with the parameters of its form."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generator.markdown import code, escaped, table
from flows.deployments import DEPLOYMENTS, FlowDeployment

INTRODUCTION = """# Flows

Every flow is a Prefect deployment called `wordwave`, with a form. A parameter without a default is required.
"""
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "over {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "under {}",
    "maxLength": "up to {} characters",
    "maxItems": "up to {} entries",
}


def flows_page() -> str:
    """Return the page of all flows, in the order in which they are deployed."""
    return "\n".join([INTRODUCTION, *map(_section, DEPLOYMENTS)])


def _section(deployed: FlowDeployment) -> str:
    flow = deployed.load()
    schema = flow.parameters.model_dump()
    required = schema.get("required") or []
    rows = (
        _row(name, field, schema["definitions"] or {}, name in required)
        for name, field in schema["properties"].items()
    )
    tags = ", ".join(map(code, deployed.tags))
    head = f"## {deployed.flow}\n\n{escaped(flow.description or '')}\n\n"
    about = f"Tags: {tags}. Pool: {code(deployed.pool)}. Entry point: {code(deployed.entrypoint)}.\n\n"
    if not schema["properties"]:
        return head + about + "It has no parameters.\n"
    return head + about + table(("parameter", "type", "default", "meaning"), rows)


def _row(name: str, field: Mapping[str, Any], known: Mapping[str, Any], required: bool) -> tuple[str, ...]:
    kind = ", ".join([_kind(field, known), *_bounds(field)])
    default = "" if required else code(json.dumps(field.get("default"), ensure_ascii=False))
    return code(name), kind, default, escaped(field.get("description", ""))


def _kind(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _kind(known[field["$ref"].rpartition("/")[2]], known)
    if "enum" in field:
        return ", ".join(code(str(value)) for value in field["enum"])
    if "items" in field:
        return f"list of: {_kind(field['items'], known)}"
    if "anyOf" in field:
        return " or ".join(_kind(one, known) for one in field["anyOf"])
    if "const" in field:
        return code(str(field["const"]))
    return str(field.get("format") or field.get("type", "any"))


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    for bound, words in BOUNDS.items():
        if bound in field:
            yield words.format(field[bound])
