"""Options of a request, described once for commands, forms and the request itself."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_type_hints

from flows.pipeline.configuration.credentials import refuse_credentials


@dataclass(frozen=True)
class Rule:
    """A pattern that a text has to match, and a sentence that tells people what to write."""

    pattern: str
    refusal: str

    def check(self, text: str) -> str:
        """Return the text unchanged, or raise ValueError with the sentence if it does not match."""
        refuse_credentials(text)
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.refusal)
        return text


@dataclass(frozen=True)
class Option:
    """Help, bounds and rule of one field of a request. Its name and default are those of the field."""

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    rule: Rule | None = None
    metavar: str | None = None


@dataclass(frozen=True)
class RequestField:
    """One field of a request, ready to become a form field or a command-line option."""

    name: str
    kind: Any
    option: Option
    default: Any

    @property
    def title(self) -> str:
        """Return the name in words."""
        return self.name.replace("_", " ").capitalize()

    @property
    def is_required(self) -> bool:
        """Return whether the field has no default."""
        return self.default is MISSING


def request_fields(request: type) -> Mapping[str, RequestField]:
    """Return the fields of a request by name: a dataclass whose fields are Annotated with an Option."""
    hints = get_type_hints(request, include_extras=True)
    found = {}
    for field in fields(request):
        kind, option = get_args(hints[field.name])
        found[field.name] = RequestField(field.name, kind, option, field.default)
    return found
