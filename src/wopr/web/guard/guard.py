"""What stands before every route: who asks is found out here, or the request goes no further."""

from __future__ import annotations

import hmac
import logging
import os
import re
from collections import Counter
from dataclasses import dataclass
from inspect import isawaitable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from wopr.config.whoami import this_process
from wopr.domain.accesstoken import PREFIX, AccessToken
from wopr.domain.act import By, acting
from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError, StorageError
from wopr.domain.hosts import is_meant
from wopr.domain.jsontext import shown
from wopr.queue.queue import TaskQueue, inside
from wopr.remote.loopback import is_of_another_user
from wopr.web.guard import letters, login, sessions
from wopr.web.guard.answers import path_of, refusal, root_of, wants_page
from wopr.web.guard.known import KnownTokens
from wopr.web.guard.origins import (
    SAFE_METHODS,
    comes_from_elsewhere,
    is_foreign,
    is_local,
    is_of_a_browser,
    peer_of,
)
from wopr.web.guard.policy import Loopback, Policy
from wopr.web.guard.receiving import Bounded, too_large
from wopr.web.guard.roles import Caller, Role
from wopr.web.guard.sending import Sending
from wopr.web.guard.throttle import Throttle

log = logging.getLogger(__name__)

CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_HEADERS = 100
MOST_HEADER_BYTES = 32 * 1024
MOST_PATH = 16 * 1024
"""Characters of a path with its query."""
REQUESTS = 20_000
"""So many requests of one caller from one address are answered at once, and half as many per
second from then on."""
FAILURES = 10
"""So many wrong tokens of one address are told so at once, and one in six seconds from then on."""
MOST_UNDER_WAY = 250
"""So many requests of one caller are answered at the same time: half of the connections that there
are. Streams and long polls, which hold one each, leave the rest to others."""
MOST_SIGNING_IN = 50
"""So many send their token at once: of nobody else who is unknown a body is waited for, and each of
them has a connection."""
_CSRF = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Known:
    """Who asks, and how that is known."""

    caller: Caller
    token: AccessToken | None = None
    csrf: str | None = None
    """What a change has to bring along that came with a cookie of ours; else ``None``."""
    by_header: bool = False
    """Whether a header says it that no other page can have a browser send."""


class Guard:
    """ASGI middleware that lets requests in, with their caller in ``request.state``."""

    def __init__(self, app: ASGIApp, queue: TaskQueue, policy: Policy) -> None:
        self._app = app
        self._policy = policy
        self._tokens = KnownTokens(queue)
        monotonic = inside(queue).clock.monotonic
        self._requests = Throttle(REQUESTS, REQUESTS / 2, monotonic)
        self._failures = Throttle(FAILURES, 1 / 6, monotonic)
        self._signing_in = 0
        self._under_way = Counter[str]()
        self._most = max(MOST_BODY_BYTES, 2 * queue.settings.max_args_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            scope = {**scope, "state": {**scope.get("state", {})}}
            await self._guarded(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        bounded = Bounded(receive, self._most)
        try:
            found = self._out_of_place(request) or await self._known(request, bounded)
            if isinstance(found, Known):
                found = await self._checked(request, bounded, found)
        except HTTPException as error:
            found = refusal(request, error.status_code, error.detail, error.headers)
        except StorageError as error:
            found = refusal(request, 503, str(error), {"Retry-After": "1"})
        if isinstance(found, Response):
            await found(scope, receive, Sending(send))
        else:
            await self._hand_on(scope, bounded, send, found)

    async def _hand_on(self, scope: Scope, bounded: Bounded, send: Send, known: Known) -> None:
        token = known.token
        still = None if token is None else lambda: self._tokens.lets_in(token)
        sending = Sending(send, still, bounded.gone.set)
        scope["state"]["caller"] = known.caller
        scope["state"]["signed_in"] = known.csrf is not None
        scope["state"]["csrf"] = known.csrf or self._csrf_of(Request(scope), sending)
        name = known.caller.name
        by = acting.set(By(name, f"web, from {peer_of(scope)}"))
        self._under_way[name] += 1
        try:
            await self._app(scope, bounded, sending)
        finally:
            acting.reset(by)
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]

    # -- what is not answered, whoever asks -------------------------------------------

    def _out_of_place(self, request: Request) -> Response | None:
        """Refuse what is not meant for here, or is sent by a page of somebody else's."""
        headers, scope = request.headers, request.scope
        if len(headers.raw) > MOST_HEADERS or _size(headers) > MOST_HEADER_BYTES:
            return refusal(request, 431, letters.LARGE_HEAD)
        if len(scope["path"]) + len(scope["query_string"]) > MOST_PATH:
            return refusal(request, 414, letters.LONG_PATH)
        hosts = headers.getlist("host")
        if not hosts or not is_meant(hosts, "localhost", self._policy.hosts):
            return refusal(request, 421, letters.NOT_MEANT)
        if is_foreign(request.method, headers):
            return refusal(request, 403, letters.FOREIGN)
        if _length(headers.get("content-length")) > self._most:
            error = too_large(self._most)
            return refusal(request, 413, error.detail, error.headers)
        return None

    # -- who asks ---------------------------------------------------------------------

    async def _known(self, request: Request, bounded: Bounded) -> Known | Response:
        """Return who asks, or what somebody is answered who is nobody."""
        path = path_of(request)
        if path == login.STYLE_PATH and request.method in SAFE_METHODS:
            return login.style()
        if path == login.PATH:
            return await self._login(request, bounded)
        found = await self._by_token(request) or await self._by_session(request)
        found = found or await self._by_application(request) or self._by_place(request)
        return found or self._nobody(request)

    async def _by_token(self, request: Request) -> Known | Response | None:
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or (
            self._policy.authenticate is not None and not text.startswith(PREFIX)
        ):
            return None
        token = await self._tokens.named_by(text.strip())
        if token is None:
            return self._failed(request, refusal(request, 401, letters.WRONG, letters.BEARER))
        return Known(Caller(token.name, token.role), token, by_header=True)

    async def _by_session(self, request: Request) -> Known | None:
        cookie = _cookie(request, sessions.COOKIE)
        if not cookie:
            return None
        found = sessions.session_of(cookie, await self._tokens.all(), self._tokens.now())
        if found is None:
            return None
        return Known(Caller(found.token.name, found.token.role), found.token, found.csrf)

    async def _by_application(self, request: Request) -> Known | None:
        authenticate = self._policy.authenticate
        if authenticate is None:
            return None
        found = authenticate(request)
        caller = await found if isawaitable(found) else found
        if caller is None:
            return None
        if not isinstance(caller, Caller) or not isinstance(caller.role, Role):
            raise InvalidCallError(
                f"authenticate= of create_app returned {shown(caller)}. It returns a "
                'wopr.web.Caller("ada", Role.READ), or None for who may not come in.'
            )
        return Known(Caller(check_label(caller.name, "the name of a Caller"), caller.role))

    def _by_place(self, request: Request) -> Known | None:
        policy = self._policy
        if policy.authenticate is not None or policy.loopback is not Loopback.ADMIN:
            return None
        if not is_local(request.scope, request.headers) or is_of_another_user(request.scope):
            return None
        return Known(Caller(this_process().who, Role.ADMIN))

    def _nobody(self, request: Request) -> Response:
        """Answer somebody who is not known: a browser is asked for a token."""
        if "hx-request" in request.headers:
            return login.from_part(request)
        if request.method in SAFE_METHODS and wants_page(request):
            if comes_from_elsewhere(request.headers):
                return login.again(request)
            return login.to_form(request, path_of(request))
        return refusal(request, 401, letters.NOBODY, letters.BEARER)

    def _failed(self, request: Request, answer: Response) -> Response:
        """Return the answer to a wrong token; who tries many is told to wait."""
        peer = peer_of(request.scope)
        wait = self._failures.take(peer)
        if not wait:
            log.warning("Somebody at %s came with a token that lets nobody in.", peer)
            return answer
        return refusal(request, 429, letters.TOO_MANY_WRONG, {"Retry-After": str(int(wait) + 1)})

    async def _login(self, request: Request, bounded: Bounded) -> Response:
        if request.method in {"GET", "HEAD"}:
            asked = login.inside(request.query_params.get("next", "/"))
            return login.form(request, "This dashboard asks for a token.", next_path=asked)
        if request.method != "POST":
            return refusal(
                request, 405, "Only GET and POST are for /login.", {"Allow": "GET, POST"}
            )
        if _length(request.headers.get("content-length")) > login.MOST_BYTES:
            raise too_large(login.MOST_BYTES)
        if self._signing_in >= MOST_SIGNING_IN:
            return refusal(request, 429, letters.MANY_SIGN_IN, {"Retry-After": "5"})
        self._signing_in += 1
        try:
            small = Bounded(bounded, login.MOST_BYTES, login.SECONDS)
            text = (await small.field("token")).strip()
            asked = login.inside(await small.field("next"))
        finally:
            self._signing_in -= 1
        token = await self._tokens.named_by(text)
        if token is None:
            said = "That token lets nobody in: it is mistyped, has expired, or was revoked."
            page = login.form(request, said, next_path=asked, status=401)
            return self._failed(request, page)
        cookie, seconds = sessions.new_session(token, text, self._tokens.now())
        log.info("%s signed in from %s.", token.name, peer_of(request.scope))
        return login.let_in(request, cookie, seconds, asked)

    # -- what somebody known may not either -------------------------------------------

    async def _checked(self, request: Request, bounded: Bounded, known: Known) -> Known | Response:
        wait = self._requests.take((known.caller.name, peer_of(request.scope)))
        if wait:
            return refusal(request, 429, letters.TOO_MANY, {"Retry-After": str(int(wait) + 1)})
        if self._under_way[known.caller.name] >= MOST_UNDER_WAY:
            return refusal(request, 429, letters.MANY_UNDER_WAY, {"Retry-After": "5"})
        changes = request.method not in SAFE_METHODS and not known.by_header
        if changes and not await self._meant_by_its_page(request, bounded, known):
            return refusal(request, 403, letters.NO_CSRF)
        if path_of(request) == login.LOGOUT_PATH and request.method == "POST":
            return login.let_out(request)
        return known

    async def _meant_by_its_page(self, request: Request, bounded: Bounded, known: Known) -> bool:
        """Tell whether a change comes from a page of ours, or from no page at all."""
        wanted = known.csrf
        if wanted is None:
            if not is_of_a_browser(request.headers):
                return True
            wanted = _cookie(request, sessions.CSRF_COOKIE)
            if not _CSRF.fullmatch(wanted):  # none that was made here
                return False
        given = request.headers.get(CSRF_HEADER) or ""
        form = request.headers.get("content-type", "").startswith(
            "application/x-www-form-urlencoded"
        )
        if not given and form:
            given = await bounded.field(CSRF_FIELD)
        return bool(wanted) and hmac.compare_digest(wanted.encode(), given.encode())

    def _csrf_of(self, request: Request, sending: Sending) -> str:
        """Return what the pages of a browser without a session send with each change."""
        cookie = _cookie(request, sessions.CSRF_COOKIE)
        if _CSRF.fullmatch(cookie):
            return cookie
        if request.method not in SAFE_METHODS:
            return ""  # no page is behind it, or it would have been refused
        made = os.urandom(32).hex()
        answer = Response()
        answer.set_cookie(
            sessions.named_for(sessions.CSRF_COOKIE, request.headers.get("host", "")),
            made,
            path=root_of(request) or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        sending.cookies.append(answer.headers["set-cookie"])
        return made


def _cookie(request: Request, cookie: str) -> str:
    """Return what a browser sends of a cookie of this port; nothing if it has none."""
    return request.cookies.get(sessions.named_for(cookie, request.headers.get("host", "")), "")


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) for name, value in headers.raw)


def _length(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else 0
