"""HTML from templates. Everything that comes from tasks is escaped; nothing is inline."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from wopr.domain.clock import SystemClock, new_identity
from wopr.web.pages.asking import Ask, ask_of
from wopr.web.pages.assets import asset_path
from wopr.web.pages.drawing import DRAWINGS
from wopr.web.pages.filters import FILTERS

NAV = (
    ("Overview", "/"),
    ("Tasks", "/tasks"),
    ("Flows", "/flows"),
    ("Failures", "/failures"),
    ("Schedules", "/schedules"),
    ("Categories", "/categories"),
    ("Workers", "/workers"),
    ("SQL", "/sql"),
    ("Acts", "/acts"),
    ("Alerts", "/alerts"),
)
"""Each page of the navigation: its name, and where it is."""

POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
"""What a page may load and do. htmx acts on elements that carry the nonce of the page only."""

STAMP = new_identity().hex()
"""What stands for the nonce in what live pages send. Of this process, and told to nobody but the
pages: they put their own nonce in its place, so that an attribute which somebody smuggled in has
none."""


@functools.cache
def environment() -> Environment:
    """Return the templates: escaping is on, and a name that is missing is an error."""
    found = Environment(
        loader=PackageLoader("wopr.web.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    found.globals.update(nav=NAV, **DRAWINGS)
    return found


def page(request: Request, template: str, *, code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page, or what stands in a dialog if a page asks for that.

    Templates extend ``base.html``, or ``dialog.html`` for what a page may show over itself.

    Args:
        request: what it is the answer to.
        template: its name.
        code: the status of the answer.
        **values: for the template, beside those of every page (see ``common``).
    """
    ask = values.pop("ask", None) or ask_of(request)
    nonce = getattr(request.state, "nonce", "") or new_identity().hex()
    told = {
        **common(ask, nonce=nonce),
        "csrf": getattr(request.state, "csrf", ""),
        "signed_in": getattr(request.state, "signed_in", False),
        "inside": request.headers.get("hx-request") == "true",
        **values,
    }
    text = environment().get_template(template).render(_with_parts(told))
    headers = {
        "cache-control": "no-store",
        "vary": "hx-request",
        "content-security-policy": POLICY.format(nonce=nonce),
    }
    return HTMLResponse(text, code, headers=headers)


def live_part(template: str, ask: Ask, **values: Any) -> str:
    """Return what of a page changes: its block ``live``, for everybody who looks at it."""
    found = environment().get_template(template)
    told = {**common(ask, nonce=STAMP), "csrf": "", "inside": False, **values}
    context = found.new_context(_with_parts(told))
    known = environment().get_template("base.html").blocks["known"]
    return "".join((*found.blocks["live"](context), *known(context))).strip()


def _with_parts(told: dict[str, Any]) -> dict[str, Any]:
    """Add the pieces of ``parts.html``, which know who asks and which nonce counts."""
    return {**told, "parts": environment().get_template("parts.html").make_module(told)}


def common(ask: Ask, *, nonce: str) -> dict[str, Any]:
    """Return what every template may use."""

    def url(path: str, **query: Any) -> str:
        """Return the URL of a page; a value of ``None`` is left out, a list comes several times."""
        given = {name: value for name, value in query.items() if value not in (None, "", [])}
        if ask.past and "at" not in query:
            given["at"] = ask.query["at"]
        return ask.root + path + (f"?{urlencode(given, doseq=True)}" if given else "")

    return {
        "ask": ask,
        "url": url,
        "static": lambda name: ask.root + asset_path(name),
        "nonce": nonce,
        "stamp": STAMP,
        "may": ask.may,
        "here": None,
        "live_url": None,
        "unknown": (),
        "known_of": None,
        "title": "wopr",
        "now": SystemClock().now(),
        "database": str(ask.queue.database),
    }
