"""The documentation, as resources: what this version of wopr can do and how it is told."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resources import FunctionResource

SHELVES = ("guides", "reference")
MARKDOWN = "text/markdown"


def add_pages(server: MCPServer[Any]) -> None:
    """Give a server each page of guides and reference as a resource."""
    for path in pages():
        shelf = path.parent.name
        server.add_resource(
            FunctionResource(
                uri=f"wopr://docs/{shelf}/{path.stem}",
                name=f"{shelf}/{path.stem}",
                title=_title(path),
                mime_type=MARKDOWN,
                fn=partial(path.read_text, encoding="utf-8"),
            )
        )


def pages() -> list[Path]:
    """Return the pages: those in the installed package, or those of the repository."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_docs"
    home = installed if installed.is_dir() else package.parents[1] / "docs"
    return [path for shelf in SHELVES for path in sorted((home / shelf).glob("*.md"))]


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as page:
        return page.readline().removeprefix("#").strip()
