"""What every request meets before a route does: who is let in, and as whom."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount

from support.webapp import FAR, HERE, LOCAL, bearer, browser, token_of
from wopr import InvalidCallError, TaskQueue
from wopr.config.whoami import this_process
from wopr.core.accesstokens import revoke_token
from wopr.queue.queue import inside
from wopr.web import Caller, Role, create_app
from wopr.web.guard import guard
from wopr.web.guard.known import FRESH_SECONDS, KnownTokens
from wopr.web.routing import caller_of, queue_of, route

pytestmark = pytest.mark.asyncio
ME = [this_process().who, "admin"]


async def _whoami(request: Request) -> Response:
    caller = caller_of(request)
    return JSONResponse([caller.name, caller.role])


async def _page(request: Request) -> Response:
    return HTMLResponse(f"<p>{request.state.csrf}</p>")


async def _act(request: Request) -> Response:
    await queue_of(request).pause("mail", reason=(await request.body()).decode() or "none")
    return JSONResponse("done")


def with_probes(app: Starlette) -> Starlette:
    """Add routes of the test."""
    app.router.routes[:0] = [
        route("/api/v1/whoami", _whoami, needs=Role.READ),
        route("/probe", _page, needs=Role.READ),
        route("/probe/act", _act, needs=Role.OPERATE, methods=["POST"]),
    ]
    return app


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    async with TaskQueue(enabled=True, database=tmp_path / "queue.duckdb") as made:
        yield made


@pytest.fixture
def app(queue: TaskQueue) -> Starlette:
    return with_probes(create_app(queue))


async def who(client: httpx.AsyncClient, **headers: str) -> object:
    answer = await client.get("/api/v1/whoami", headers=headers)
    return answer.json() if answer.status_code == 200 else answer.status_code


# -- without a token --------------------------------------------------------------------


async def test_who_asks_on_this_machine_is_its_user(app: Starlette) -> None:
    for url in (HERE, "http://localhost:8800", "http://[::1]:8800", "http://wopr.localhost"):
        async with browser(app, url=url) as client:
            assert ME == await who(client), url


THROUGH_A_PROXY = [
    *(("X-Forwarded-For", "10.0.0.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "x")),
    *(("Forwarded", "for=10.0.0.7"), ("Via", "1.1 x"), ("X-Real-IP", "10.0.0.7")),
    *(("Host", "myhost:8800"), ("Host", "10.0.0.1")),
]


async def test_who_comes_through_a_proxy_or_by_another_name_is_nobody(app: Starlette) -> None:
    async with browser(app) as client:
        told = [await who(client, **{header: value}) for header, value in THROUGH_A_PROXY]
    assert [401] * len(THROUGH_A_PROXY) == told


async def test_who_comes_from_elsewhere_is_nobody(app: Starlette) -> None:
    async with browser(app) as client:
        assert "/logout" not in (await client.get("/acts")).text  # there is no session to end
    async with browser(app, peer=FAR) as client:
        answer = await client.get("/api/v1/whoami")
        assert 401 == answer.status_code
        assert "wopr token create" in answer.json()["detail"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_setting_asks_for_a_token_on_this_machine_too(queue: TaskQueue) -> None:
    app = with_probes(create_app(queue, loopback="token"))
    async with browser(app) as client:
        assert 401 == await who(client)
        token = await token_of(queue)
        assert ["ada", "read"] == await who(client, **bearer(token))
    with pytest.raises(InvalidCallError, match="'admin' or 'token'"):
        create_app(queue, loopback="everybody")


# -- tokens ---------------------------------------------------------------------------------


async def test_a_token_lets_somebody_in_with_its_role(app: Starlette, queue: TaskQueue) -> None:
    token = await token_of(queue)
    async with browser(app, peer=FAR, headers=bearer(token)) as client:
        assert ["ada", "read"] == await who(client)
        refused = await client.post("/probe/act")
        assert 403 == refused.status_code
        assert "operate" in refused.text
    admin = await token_of(queue, "bob", Role.ADMIN)
    async with browser(app, peer=FAR, headers=bearer(admin)) as client:
        assert 200 == (await client.post("/probe/act")).status_code
    pauses = await queue.pauses()
    assert ["bob"] == [pause.by for pause in pauses]
    act = (await queue.acts())[0]
    assert ("pause", "bob", "web, from 10.0.0.7") == (act.verb, act.who, act.origin)


async def test_a_wrong_token_lets_nobody_in_even_here(app: Starlette) -> None:
    async with browser(app) as client:
        for wrong in ("", "x", "wopr_", "wopr_" + "a" * 43, "wopr_" + "b" * 9_000, "é", "null"):
            header = [(b"authorization", b"Bearer " + wrong.encode())]
            assert 401 == (await client.get("/api/v1/whoami", headers=header)).status_code


async def test_a_token_is_over_when_it_expires_or_is_revoked(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.web.guard.known.FRESH_SECONDS", 0.0)
    app = with_probes(create_app(queue))
    token = await token_of(queue, life=timedelta(hours=1))
    known = KnownTokens(queue)
    async with browser(app, peer=FAR, headers=bearer(token)) as client:
        assert ["ada", "read"] == await who(client)
        later = known.now() + timedelta(hours=1)
        monkeypatch.setattr(KnownTokens, "now", lambda self: later)
        assert 401 == await who(client)
        monkeypatch.undo()
        monkeypatch.setattr("wopr.web.guard.known.FRESH_SECONDS", 0.0)
        assert ["ada", "read"] == await who(client)
        await revoke_token(inside(queue), "ada")
        assert 401 == await who(client)
    assert FRESH_SECONDS <= 2.0  # as the command says


async def test_many_wrong_tokens_are_told_to_wait_and_right_ones_are_not(
    app: Starlette, queue: TaskQueue
) -> None:
    token = await token_of(queue)
    async with browser(app, peer=FAR) as client:
        told = [await who(client, **bearer("wopr_wrong")) for _ in range(12)]
        assert [401] * 10 + [429] * 2 == told
        assert ["ada", "read"] == await who(client, **bearer(token))
    async with browser(app, peer=("10.0.0.8", 1)) as other:
        assert 401 == await who(other, **bearer("wopr_wrong"))


# -- browsers ------------------------------------------------------------------------------


async def signed_in(client: httpx.AsyncClient, token: str, path: str = "/probe") -> str:
    """Sign in as a browser does; return what its pages send with each change."""
    form = {"token": token, "next": path}
    answer = await client.post(
        "/login", data=form, headers={"Origin": str(client.base_url).rstrip("/")}
    )
    assert (303, path) == (answer.status_code, answer.headers["location"])
    found = re.search(r"<p>(\w{64})</p>", (await client.get(path)).text)
    assert found
    return found[1]


async def test_a_browser_is_asked_for_a_token_and_let_in_with_it(
    app: Starlette, queue: TaskQueue
) -> None:
    token = await token_of(queue, role=Role.OPERATE)
    async with browser(app, peer=FAR, headers={"Accept": "text/html"}) as client:
        sent = await client.get("/probe?a=1&b=2")
        assert 303 == sent.status_code
        assert "/login?next=%2Fprobe%3Fa%3D1%26b%3D2" == sent.headers["location"]
        page = await client.get(sent.headers["location"])
        assert 'value="/probe?a=1&amp;b=2"' in page.text
        assert 200 == (await client.get("/login.css")).status_code
        await signed_in(client, token)
        cookie = (await client.post("/login", data={"token": token})).headers["set-cookie"]
        assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age"))
        assert "Secure" not in cookie
        assert token not in cookie
        assert ["ada", "operate"] == await who(client)
    async with browser(app, peer=FAR, url="https://127.0.0.1") as client:
        cookie = (await client.post("/login", data={"token": token})).headers["set-cookie"]
        assert "Secure" in cookie


async def test_a_part_of_a_page_sends_the_whole_of_it_to_the_login(app: Starlette) -> None:
    part = {"HX-Request": "true", "HX-Current-URL": "https://x.example/probe?a=1"}
    async with browser(app, peer=FAR, headers=part) as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, "/probe/act")
            assert 401 == answer.status_code
            assert "/login?next=%2Fprobe%3Fa%3D1" == answer.headers["hx-redirect"]


async def test_a_wrong_token_is_told_on_the_page_and_not_shown(app: Starlette) -> None:
    async with browser(app, headers={"Accept": "text/html"}) as client:
        form = {"token": "<script>alert(1)</script>", "next": '"><script>'}
        answer = await client.post("/login", data=form)
        assert 401 == answer.status_code
        assert "<script" not in answer.text
        assert "lets nobody in" in answer.text
        large = await client.post("/login", content=b"token=" + b"x" * 10_000)
        assert 413 == large.status_code


ELSEWHERE = ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nX: 1", "", "\0"]


async def test_nobody_is_led_elsewhere_after_the_login(app: Starlette, queue: TaskQueue) -> None:
    token = await token_of(queue)
    async with browser(app) as client:
        for path in ELSEWHERE:
            answer = await client.post("/login", data={"token": token, "next": path})
            assert "/" == answer.headers["location"]


async def test_a_change_with_a_session_needs_what_its_page_knows(
    app: Starlette, queue: TaskQueue
) -> None:
    token = await token_of(queue, role=Role.OPERATE)
    async with browser(app, peer=FAR) as client:
        csrf = await signed_in(client, token)
        for headers in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": "é"}):
            raw = {name: value.encode() for name, value in headers.items()}
            assert 403 == (await client.post("/probe/act", headers=raw)).status_code
        assert 403 == (await client.post("/probe/act", json={})).status_code
        assert 403 == (await client.post("/probe/act", data={"csrf": "x"})).status_code
        assert [] == await queue.pauses()
        by_form = await client.post("/probe/act", data={"csrf": csrf, "why": "because"})
        assert 200 == by_form.status_code
        assert [f"csrf={csrf}&why=because"] == [one.reason for one in await queue.pauses()]
        by_header = await client.post("/probe/act", headers={"X-CSRF-Token": csrf})
        assert 200 == by_header.status_code


async def test_a_session_ends_with_the_logout_and_with_its_token(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.web.guard.known.FRESH_SECONDS", 0.0)
    app = with_probes(create_app(queue))
    token = await token_of(queue)
    async with browser(app, peer=FAR) as client:
        csrf = await signed_in(client, token)
        assert 403 == (await client.post("/logout")).status_code
        assert 'action="/logout"' in (await client.get("/acts")).text
        out = await client.post("/logout", data={"csrf": csrf})
        assert (303, "/login") == (out.status_code, out.headers["location"])
        assert 401 == await who(client)
        await signed_in(client, token)
        await revoke_token(inside(queue), "ada")
        assert 401 == await who(client)
        again = await token_of(queue)
        assert again != token
        assert 401 == await who(client)  # a new token of the same name


async def test_a_cookie_that_was_changed_is_none(app: Starlette, queue: TaskQueue) -> None:
    token = await token_of(queue)
    async with browser(app, peer=FAR) as client:
        await signed_in(client, token)
        right = client.cookies["wopr_session_8800"]
        client.cookies.clear()
        payload, _, signature = right.partition(".")
        wrong = [payload, "." + signature, f"{payload}.{'0' * 64}", f"{payload}A.{signature}"]
        wrong += [right + "A", "a.b", "W10=.x", "x" * 5_000, payload[4:] + "." + signature]
        for cookie in wrong:
            assert 401 == await who(client, Cookie=f"wopr_session_8800={cookie}")
        assert ["ada", "read"] == await who(client, Cookie=f"wopr_session_8800={right}")


async def test_dashboards_on_two_ports_of_a_machine_do_not_sign_each_other_out(
    app: Starlette, queue: TaskQueue, tmp_path: Path
) -> None:
    async with TaskQueue(enabled=True, database=tmp_path / "other.duckdb") as other:
        beside = with_probes(create_app(other))
        urls = "http://queue.localhost:8800", "http://queue.localhost:8801"
        async with (
            browser(app, peer=FAR, url=urls[0]) as one,
            browser(beside, peer=FAR, url=urls[1]) as two,
        ):
            csrf = await signed_in(one, await token_of(queue))
            two.cookies.update(one.cookies)  # a browser keeps those of a host together
            await signed_in(two, await token_of(other, "bob"))
            one.cookies.update(two.cookies)
            assert (["ada", "read"], ["bob", "read"]) == (await who(one), await who(two))
            assert 303 == (await one.post("/logout", data={"csrf": csrf})).status_code
            assert (401, ["bob", "read"]) == (await who(one), await who(two))


async def test_who_follows_a_link_from_another_site_does_not_sign_in_again(
    app: Starlette, queue: TaskQueue
) -> None:
    visit = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with browser(app, peer=FAR, headers=visit) as client:
        strict = await client.get("/probe", headers={"Sec-Fetch-Site": "cross-site"})
        assert (200, True) == (strict.status_code, 'content="0;url=/probe"' in strict.text)
        own = await client.get("/probe", headers={"Sec-Fetch-Site": "same-origin"})
        assert 303 == own.status_code
        for path in ("//evil.example/x", "/%2f/evil.example/x", "///evil.example/x"):
            url = httpx.URL(HERE).copy_with(raw_path=path.encode())
            led = await client.get(url, headers={"Sec-Fetch-Site": "cross-site"})
            assert 'content="0;url=/evil.example/x"' in led.text


async def test_who_holds_many_requests_open_leaves_room_for_others(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_UNDER_WAY", 1)
    begun, over = asyncio.Event(), asyncio.Event()

    async def held(request: Request) -> Response:
        begun.set()
        await over.wait()
        return JSONResponse("over")

    app = with_probes(create_app(queue, loopback="token"))
    app.router.routes[:0] = [route("/api/v1/held", held, needs=Role.READ)]
    ada, bob = bearer(await token_of(queue)), bearer(await token_of(queue, "bob"))
    async with browser(app) as client:
        holding = asyncio.ensure_future(client.get("/api/v1/held", headers=ada))
        await begun.wait()
        refused = await client.get("/api/v1/whoami", headers=ada)
        assert (429, "5") == (refused.status_code, refused.headers["retry-after"])
        assert 200 == (await client.get("/api/v1/whoami", headers=bob)).status_code
        over.set()
        await holding
        assert 200 == (await client.get("/api/v1/whoami", headers=ada)).status_code


async def test_who_sends_a_token_slowly_leaves_room_for_others(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_SIGNING_IN", 1)
    token, asked = await token_of(queue), asyncio.Event()
    app = with_probes(create_app(queue, loopback="token"))

    async def slowly() -> AsyncIterator[bytes]:
        yield b"token="
        asked.set()
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as slow, browser(app) as other:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        sending = asyncio.ensure_future(slow.post("/login", content=slowly(), headers=kind))
        await asked.wait()
        assert 429 == (await other.post("/login", data={"token": token})).status_code
        sending.cancel()
        await asyncio.wait({sending})
        assert 303 == (await other.post("/login", data={"token": token})).status_code


# -- the application's own authentication -------------------------------------------------


async def test_an_application_tells_who_asks(queue: TaskQueue) -> None:
    def authenticate(request: Request) -> Caller | None:
        name = request.headers.get("x-user")
        return None if name is None else Caller(name, Role.OPERATE)

    async def later(request: Request) -> Caller | None:
        return authenticate(request)

    token = await token_of(queue)
    for function in (authenticate, later):
        app = with_probes(create_app(queue, authenticate=function))
        async with browser(app, url="https://shop.example") as client:
            assert 401 == await who(client)  # though it is on this machine
            assert ["eve", "operate"] == await who(client, **{"X-User": "eve"})
            other = {"X-User": "eve", "Authorization": "Bearer jwt.of.theirs"}
            assert ["eve", "operate"] == await who(client, **other)
            assert ["ada", "read"] == await who(client, **bearer(token))
            cookie = {"X-User": "eve", "Cookie": "theirs=1"}
            assert 403 == (await client.post("/probe/act", headers=cookie)).status_code
            assert 200 == (await client.post("/probe/act", headers={"X-User": "eve"})).status_code


async def test_what_an_application_tells_has_to_be_a_caller(queue: TaskQueue) -> None:
    app = with_probes(create_app(queue, authenticate=lambda request: "ada"))  # type: ignore[arg-type,return-value]
    async with browser(app) as client:
        with pytest.raises(InvalidCallError, match="returned 'ada'"):
            await who(client)
    with pytest.raises(InvalidCallError, match="must be a function"):
        create_app(queue, authenticate="ada")  # type: ignore[arg-type]


async def test_it_works_where_it_is_mounted(queue: TaskQueue) -> None:
    token = await token_of(queue)
    app = Starlette(routes=[Mount("/ops/wopr", with_probes(create_app(queue, loopback="token")))])
    async with browser(app, headers={"Accept": "text/html"}) as client:
        sent = await client.get("/ops/wopr/probe")
        assert "/ops/wopr/login?next=%2Fprobe" == sent.headers["location"]
        page = await client.get(sent.headers["location"])
        assert 'action="/ops/wopr/login"' in page.text
        answer = await client.post("/ops/wopr/login", data={"token": token, "next": "/probe"})
        assert "/ops/wopr/probe" == answer.headers["location"]
        assert "Path=/ops/wopr" in answer.headers["set-cookie"]
        assert 200 == (await client.get("/ops/wopr/probe")).status_code


async def test_a_websocket_is_closed(app: Starlette) -> None:
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [], "client": LOCAL}
    await app(scope, None, send)  # type: ignore[arg-type]
    assert [{"type": "websocket.close", "code": 1008}] == sent


async def test_a_session_and_a_token_are_of_one_queue(
    app: Starlette, queue: TaskQueue, tmp_path: Path
) -> None:
    """There is no key that two queues share, and none that is the default."""
    token = await token_of(queue)
    async with browser(app, peer=FAR) as client:
        await signed_in(client, token)
        cookie = client.cookies["wopr_session_8800"]
    async with TaskQueue(enabled=True, database=tmp_path / "other.duckdb") as other:
        await token_of(other)
        async with browser(with_probes(create_app(other)), peer=FAR) as client:
            assert 401 == await who(client, Cookie=f"wopr_session_8800={cookie}")
            assert 401 == await who(client, **bearer(token))


async def test_a_stream_ends_when_its_token_is_revoked(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.web.guard.known.FRESH_SECONDS", 0.0)

    async def told(request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"1"
            yield b"2"
            await revoke_token(inside(queue), "ada")
            while not await request.is_disconnected():
                yield b"3"

        return StreamingResponse(parts())

    app = create_app(queue)
    app.router.routes.insert(0, route("/probe/told", told, needs=Role.READ))
    token = await token_of(queue)
    async with browser(app, peer=FAR, headers=bearer(token)) as client:
        assert "12" == (await client.get("/probe/told")).text
