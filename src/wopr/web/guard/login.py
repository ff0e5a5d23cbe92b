"""The page that asks a browser for a token, and what comes of that."""

from __future__ import annotations

import html
import re
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from wopr.web.guard import sessions
from wopr.web.guard.answers import root_of, small_page

PATH = "/login"
STYLE_PATH = "/login.css"
LOGOUT_PATH = "/logout"
MOST_BYTES = 8_192
"""Of what the page may send."""
SECONDS = 5.0
"""So long it may take: whoever sends it is nobody yet, and has one of the connections."""
_FORM = """<p{alert}>{said}</p>
<form method="post" action="{root}/login"><input type="hidden" name="next" value="{next}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button></form>
<p class="hint">Whoever runs this queue makes one:
<code>wopr token create NAME --role read</code></p>
"""
_STYLE = """:root{color-scheme:light dark;--bg:#f7f7f5;--card:#fff;--ink:#1c1d20;--dim:#5f636a;
--line:#e2e2dc;--accent:#3b5bdb;--on:#fff;--bad:#c92a2a}
@media (prefers-color-scheme:dark){:root{--bg:#111316;--card:#181b1f;--ink:#e6e7e9;--dim:#9aa0a8;
--line:#2a2e34;--accent:#91a7ff;--on:#11131a;--bad:#ff8787}}
body{font:15px/1.5 system-ui,sans-serif;margin:0;display:grid;place-items:center;min-height:100vh;
background:var(--bg);color:var(--ink)}
main{width:min(24rem,calc(100vw - 5rem));background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:1.5rem}
h1{font-size:1.2rem;margin:0 0 .5rem}p{margin:.5rem 0 1rem;overflow-wrap:anywhere}
label{display:block;font-weight:600}
input,button{font:inherit;padding:.45rem .7rem;border-radius:6px;border:1px solid var(--line)}
input[type=password]{width:100%;box-sizing:border-box;margin:.3rem 0 .8rem;background:var(--bg);
color:inherit}
button{cursor:pointer;background:var(--accent);border-color:var(--accent);color:var(--on)}
.hint{color:var(--dim);font-size:.85rem;margin:1rem 0 0}.bad{color:var(--bad)}
"""
_INSIDE = re.compile(r"/(?![/\\])[\x21-\x7e]{0,1000}")


def style() -> Response:
    """Return the style of that page."""
    return Response(_STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def form(request: Request, said: str, *, next_path: str, status: int = 200) -> Response:
    """Return the page; ``said`` is a sentence."""
    root = html.escape(root_of(request))
    alert = ' role="alert" class="bad"' if status >= 400 else ""
    values = {"said": html.escape(said), "next": html.escape(next_path)}
    body = _FORM.format(alert=alert, root=root, **values)
    return small_page(request, "Sign in", body, status=status)


def to_form(request: Request, path: str) -> Response:
    """Send a browser to the page, and back to ``path`` from there."""
    where = path if not request.url.query else f"{path}?{request.url.query}"
    return RedirectResponse(_with_next(request, where), 303)


def from_part(request: Request) -> Response:
    """Have the whole page go there of which a part was asked for, and come back."""
    found = urlsplit(request.headers.get("hx-current-url", "")[:2_000])
    path = found.path.removeprefix(root_of(request))
    target = _with_next(request, f"{path}?{found.query}" if found.query else path)
    return Response(status_code=401, headers={"HX-Redirect": target})


def _with_next(request: Request, where: str) -> str:
    return f"{root_of(request)}{PATH}?next={quote(inside(where), safe='')}"


def again(request: Request) -> Response:
    """Have a browser open the same page from here: then it sends a strict cookie."""
    where = f"/{request.scope['path'].lstrip('/')}"  # two of them would begin with a host
    where = quote(where) if not request.url.query else f"{quote(where)}?{request.url.query}"
    head = f'<meta http-equiv="refresh" content="0;url={html.escape(where)}">'
    body = f'<p><a href="{html.escape(where)}">Go on</a></p>'
    return small_page(request, "One moment", body, head=head)


def let_in(request: Request, cookie: str, seconds: int, next_path: str) -> Response:
    """Send a browser where it wanted to go, with a session."""
    answer = RedirectResponse(f"{root_of(request)}{inside(next_path)}", 303)
    _set(request, answer, cookie, seconds)
    return answer


def let_out(request: Request) -> Response:
    """End the session of a browser."""
    answer = RedirectResponse(f"{root_of(request)}{PATH}", 303)
    _set(request, answer, "", 0)
    return answer


def inside(path: str) -> str:
    """Return a path of this application, whatever was asked for."""
    return path if _INSIDE.fullmatch(path) else "/"


def _set(request: Request, answer: Response, cookie: str, seconds: int) -> None:
    answer.set_cookie(
        sessions.named_for(sessions.COOKIE, request.headers.get("host", "")),
        cookie,
        max_age=seconds,
        path=root_of(request) or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
