"""The table of the REST API: ``python tests/support/resttable.py`` puts it into its page."""

from __future__ import annotations

import re
from pathlib import Path

from wopr.web.api.routes import ENDPOINTS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rest.md"
BEGIN = "<!-- made by tests/support/resttable.py -->\n"


def table() -> str:
    """Return the rows of the API as tables in Markdown."""
    lines: list[str] = []
    about = ""
    for one in ENDPOINTS:
        if one.about != about:
            about = one.about
            if f"\n### {about}\n" not in "\n".join(lines):
                lines += ["", f"### {about}", "", "| call | does | needs | answers |"]
                lines += ["|---|---|---|---|"]
        path = re.sub(r":\w+\}", "}", one.path)
        more = [name for name in one.query.model_fields if f"{{{name}}}" not in path]
        query = f" `?{'=&'.join(more)}=`" if more else ""
        statuses = ", ".join(map(str, (*one.statuses, *one.problems)))
        row = f"| `{one.method} {path}`{query} | {one.summary} | {one.needs} | {statuses} |"
        _insert(lines, about, row)
    return "\n".join(lines).strip() + "\n"


def _insert(lines: list[str], about: str, row: str) -> None:
    """Put a row below those that stand under its heading already."""
    at = lines.index(f"### {about}") + 4
    while at < len(lines) and lines[at].startswith("|"):
        at += 1
    lines.insert(at, row)


if __name__ == "__main__":
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(head + BEGIN + "\n" + table(), encoding="utf-8")
