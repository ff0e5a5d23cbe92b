"""Secrets in forty spellings: whoever looks, wherever, sees none of them."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.pages import pages_of
from support.queues import ended
from support.restapp import asking
from wopr import TaskQueue, current_task
from wopr.domain.masking import mask, masked
from wopr.service.capture import keep_logs
from wopr.service.logs import formatter
from wopr.web.guard.roles import Role


def basic(secret: str) -> str:
    """Return what a browser sends of a name and a password."""
    return base64.b64encode(f"ada:{secret}".encode()).decode()


TEXTS = (
    *(
        "apiKey={s}",
        "API-KEY: {s}",
        "x-api-key: {s}",
        "X-Api-Key={s}",
        "api.key={s}",
        "api key: {s}",
    ),
    *("passwd={s}", "pwd={s}", "pass={s}", "DB_PASSWORD={s}", "user_password={s}", "dbPass={s}"),
    *("Authorization: Basic {b}", "authorization=Basic {b}", "Proxy-Authorization: Basic {b}"),
    *("Authorization: Bearer {s}", "Authorization: ApiKey {s}", "X-Auth-Token: {s}"),
    *("https://ada:{s}@host/x", "https://{s}@host/x", "postgresql://u:{s}@h:5432/db"),
    *("redis://:{s}@h/0", "https://h/x?sig={s}&a=1", "https://h/?access_token={s}"),
    *(
        "https://h/?api_key={s}",
        "password%3D{s}",
        "Cookie: session={s}",
        "Set-Cookie: sid={s}; Path=/",
    ),
    *("accessToken={s}", "refresh_token={s}", "client_secret={s}", "clientSecret: {s}"),
    *("SECRET_KEY={s}", "privateKey: {s}", "AccountKey={s};", "x-functions-key: {s}", "psk={s}"),
    *('{{"password": "{s}"}}', "{{'password': '{s}'}}", r'"{{\"password\": \"{s}\"}}"'),
    *(r'"{{\\\"apiKey\\\": \\\"{s}\\\"}}"', "('password', '{s}')", "['--token', '{s}']"),
    *("--password={s}", "--password {s}", "curl -u ada:{s} https://x", "<password>{s}</password>"),
    *("User(name='a', password='{s}')", '"name": "password", "value": "{s}"', "recovery_code={s}"),
)
NAMES = (
    *("apiKey", "API-KEY", "x-api-key", "passwd", "pwd", "pass", "dbPassword", "Authorization"),
    *("authToken", "access_token", "clientSecret", "SECRET_KEY", "private-key", "creds", "Cookie"),
    *("sessionId", "pin", "otp", "cvv", "AccountKey", "psk", "seedPhrase", "passwort", "api key"),
)


def secret(number: int) -> str:
    return f"hunter{number}xyz"


def said(number: int, form: str) -> str:
    return form.format(s=secret(number), b=basic(secret(number)))


SAID = [said(number, form) for number, form in enumerate(TEXTS)]
NAMED = {name: secret(100 + number) for number, name in enumerate(NAMES)}
BESIDE = [{"name": name, "value": secret(200 + number)} for number, name in enumerate(NAMES)]


def leaked(text: str) -> list[str]:
    """Return the spellings whose secret is in a text."""
    found = [one for at, one in enumerate(SAID) if secret(at) in text or basic(secret(at)) in text]
    found += [name for name, one in NAMED.items() if one in text]
    return found + [str(one) for one in BESIDE if one["value"] in text]


def test_each_spelling_is_masked_by_itself() -> None:
    assert len(TEXTS) >= 40
    assert [] == [one for at, one in enumerate(SAID) if leaked(mask(one)) or "***" not in mask(one)]
    assert [] == leaked(str([masked(one) for one in SAID]))
    assert dict.fromkeys(NAMES, "***") == masked(NAMED)
    assert [{"name": name, "value": "***"} for name in NAMES] == masked(BESIDE)


@pytest.mark.parametrize(
    "value",
    [
        *({"name": "ada", "value": 5}, {"name": "password reset mail", "value": "x"}),
        *({"key": "color", "value": "red"}, {"value": "x"}, {"name": 7, "value": "x"}),
    ],
)
def test_what_is_no_secret_stays(value: dict[str, Any]) -> None:
    assert value == masked(value)


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    made = TaskQueue(enabled=True, database=tmp_path / "q.duckdb")

    @made.task(name="leak", max_retries=0)
    async def leak(texts: list[str], named: dict[str, str], beside: list[dict[str, str]]) -> None:
        for one in texts:
            current_task().logger.warning("%s", one)
        raise ValueError("\n".join(texts))

    async with made:
        forget = keep_logs(made)
        await made.start_workers()
        yield made
        forget()


async def test_no_spelling_is_seen_by_whoever_looks(queue: TaskQueue) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter(lambda fields: json.dumps(fields, default=str)))
    logger = logging.getLogger("wopr")
    logger.addHandler(handler)
    try:
        task = (await queue.enqueue("leak", (SAID, NAMED, BESIDE))).id
        await ended(queue, task)
    finally:
        logger.removeHandler(handler)
    info = await queue.require_task_info(task)
    seen = {"error": str(info.error), "log": out.getvalue()}
    seen["history"] = str(await queue.get_history(task))
    seen["lines"] = str(await queue.get_logs(task, 1_000))
    failed = "select error, data::varchar from transitions where to_status = 'failed'"
    seen["sql"] = str((await queue.sql(failed)).rows)
    async with asking(queue, Role.OPERATE) as client:
        for path in (f"/tasks/{task}", f"/tasks/{task}/history", f"/tasks/{task}/logs", "/tasks"):
            seen[path] = (await client.get(path)).text
    async with pages_of(queue, Role.OPERATE) as client:
        for path in (f"/tasks/{task}", f"/tasks/{task}/edit", "/tasks", "/failures"):
            answer = await client.get(path)
            assert answer.status_code == 200
            seen[f"page {path}"] = answer.text
    for where, text in seen.items():
        assert "***" in text or where in {"/tasks", "page /tasks"}, where
        assert [] == leaked(text), where
