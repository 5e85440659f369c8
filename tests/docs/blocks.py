"""The documentation as what a reader takes from it: blocks of code, commands and names."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "core").rglob("*.md")],
    key=lambda path: path.relative_to(ROOT).parts,
)
LANGUAGES = frozenset({"sh", "sql", "json", "python", "text"})
_FENCE = re.compile(r"(?:<!-- (.*?) -->\n)?^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True)
class Block:
    """A fenced block. `mark` is the comment before it: why it is not run, or that it runs until stopped."""

    page: str
    mark: str
    language: str
    text: str

    @property
    def is_run(self) -> bool:
        return not self.mark.startswith("not run: ")

    @property
    def runs_until_stopped(self) -> bool:
        return self.mark == "until stopped"

    @property
    def commands(self) -> list[list[str]]:
        """Return the words of each command, without assignments and comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines for words in _commands(line)]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    name = str(page.relative_to(ROOT))
    return [Block(name, mark, language, text) for mark, language, text in _FENCE.findall(page.read_text())]


def inline_code(page: Path) -> list[str]:
    """Return what stands between backticks, outside fenced blocks."""
    return _INLINE.findall(_FENCE.sub("", page.read_text()))


def all_blocks(language: str) -> list[Block]:
    """Return the blocks of a language on all pages."""
    return [block for page in PAGES for block in blocks(page) if block.language == language]


def statements(text: str) -> list[str]:
    """Return the SQL statements of a block."""
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def sql_statements() -> Iterator[tuple[str, str]]:
    """Yield page and statement: of SQL blocks that analysts run, of `wordwave sql`, and inline."""
    for block in (block for block in all_blocks("sql") if block.is_run):
        yield from ((block.page, statement) for statement in statements(block.text))
    for block in all_blocks("sh"):
        asked = [words[2:] for words in block.commands if words[:2] == ["wordwave", "sql"]]
        yield from ((block.page, word) for words in asked for word in words if word.startswith("SELECT "))
    for page in PAGES:
        inline = (code for code in inline_code(page) if code.startswith("SELECT "))
        yield from ((str(page.relative_to(ROOT)), code) for code in inline)


def _commands(line: str) -> Iterator[list[str]]:
    words = shlex.split(line, comments=True)
    for part in _parts(words):
        rest = part[1:] if part[:1] == ["export"] else part
        while rest and _ASSIGNMENT.fullmatch(rest[0]):
            rest = rest[1:]
        if rest:
            yield rest


def _parts(words: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in [*words, "&&"]:
        if word in ("&&", "|", ";", ">"):
            yield part
            part = []
        else:
            part.append(word)
