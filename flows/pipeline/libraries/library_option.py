"""The option that names a library."""

from db.library_names import NAME_OR_VERSION
from flows.pipeline.configuration.options import Option, Rule

NAME_CHARACTERS = "up to 63 letters, digits and . _ -"
LIBRARY_RULE = Rule(NAME_OR_VERSION, f"write NAME, NAME@VERSION or NAME/LABEL; a name has {NAME_CHARACTERS}")
LIBRARY = Option(
    "Library of demonstrations: NAME for the version in use, or NAME@VERSION.",
    rule=LIBRARY_RULE,
    metavar="NAME[@VERSION]",
)
