"""What was done is said, in the dialog of the page or on one of its own."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from wopr.domain.act import ActAnswer
from wopr.domain.spoken import counted
from wopr.web.pages.recent import recent_of
from wopr.web.pages.rendering import page

MOST_SAID = 50
"""So many tasks that stayed as they are, are told one by one."""


def said(request: Request, text: str, back: str, **more: Any) -> Response:
    """Answer what was done.

    Args:
        request: that asked for it.
        text: a sentence or two.
        back: the page to go on with, below the root.
        **more: for the template: ``act``, ``unchanged``, ``times``.
    """
    recent_of(request).forget()
    values: dict[str, Any] = {"act": None, "unchanged": (), "left": 0, "times": (), **more}
    return page(request, "said.html", title="Done", text=text, back=back, **values)


def said_of(request: Request, answer: ActAnswer, word: str, back: str) -> Response:
    """Answer what came of an act."""
    text = f"{counted(answer.act.changed, 'task')} {word}."
    if answer.left:
        text += f" {counted(answer.left, 'task')} stayed as they are."
    return said(
        request,
        text,
        back,
        act=answer.act,
        unchanged=answer.unchanged[:MOST_SAID],
        left=answer.left,
    )
