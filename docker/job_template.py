"""Prints a base job template with the defaults of a folder, which has a file for each, as a config map has.

python job_template.py TEMPLATE FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any


def with_defaults(template: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Set the defaults. Raises ValueError for a file that names no variable."""
    variables = template["variables"]["properties"]
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue  # where a cluster keeps the versions of a config map
        if file.name not in variables:
            raise ValueError(f"there is no variable {file.name}; choose from {', '.join(sorted(variables))}")
        variables[file.name]["default"] = _value(variables[file.name], file.read_text().strip())
    return template


def _value(variable: dict[str, Any], text: str) -> Any:
    """Read a text as what the variable is: only texts are as they stand."""
    kinds = {one.get("type") for one in variable.get("anyOf", [variable])}
    return text if "string" in kinds else json.loads(text)


if __name__ == "__main__":
    json.dump(
        with_defaults(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])), sys.stdout, indent=2
    )
