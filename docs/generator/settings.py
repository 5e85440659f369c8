"""The page of settings, from the classes that read them."""

from pydantic_core import PydanticUndefined

from docs.generator.markdown import code, escaped, table
from flows.pipeline.configuration.settings import ENV_PREFIX
from flows.server.process import ServerSettings

INTRODUCTION = """# Settings

All come from the environment. An empty variable counts as unset. `wordwave doctor` shows the values in use.
boto3 reads its own variables.
"""


def settings_page() -> str:
    """Return the page of all settings."""
    rows = (
        (code(ENV_PREFIX + name.upper()), _default(name), escaped(field.description or ""))
        for name, field in ServerSettings.model_fields.items()
    )
    return INTRODUCTION + "\n" + table(("variable", "default", "meaning"), rows)


def _default(name: str) -> str:
    field = ServerSettings.model_fields[name]
    if field.default_factory is not None:
        return "depends on others"
    if field.default in (None, (), PydanticUndefined):
        return ""
    return code(str(field.default))
