"""A hook of MkDocs: pages outside docs/ that a page links to become part of the site.

A link that works in the repository, such as ../SECURITY.md, then works on the site, too.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS, OUTSIDE = "docs", "repository"
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)\s#]+)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add every page outside docs/ that a page links to, directly or by another such page."""
    from mkdocs.structure.files import File

    root = Path(config.docs_dir).parent
    new = [f"{DOCS}/{page.src_uri}" for page in files.documentation_pages()]
    while new:
        for linked in _linked(root, new.pop()):
            place = _on_site(linked)
            if linked.endswith(".md") and (root / linked).is_file() and not files.get_file_from_path(place):
                files.append(File.generated(config, place, abs_src_path=str(root / linked)))
                new.append(linked)
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Lead links to where their pages are on the site."""
    here = page.file.src_uri
    source = _in_repository(here)

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        return posixpath.relpath(_on_site(target), posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)


def _linked(root: Path, source: str) -> list[str]:
    text = (root / source).read_text(encoding="utf-8")
    folder = posixpath.dirname(source)
    return [posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(text)]


def _on_site(path: str) -> str:
    return path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else f"{OUTSIDE}/{path}"


def _in_repository(src_uri: str) -> str:
    return src_uri.removeprefix(f"{OUTSIDE}/") if src_uri.startswith(f"{OUTSIDE}/") else f"{DOCS}/{src_uri}"
