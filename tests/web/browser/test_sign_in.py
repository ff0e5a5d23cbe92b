"""Somebody from elsewhere signs in with a token, acts, and signs out."""

from __future__ import annotations

from playwright.sync_api import Browser

from support.browsers import Served
from wopr.core.accesstokens import create_token, revoke_token
from wopr.domain.role import Role
from wopr.queue.queue import inside

ELSEWHERE = {"X-Forwarded-For": "10.0.0.7"}
PATIENCE = 60_000


def test_a_token_lets_a_browser_in_and_its_acts_are_under_its_name(
    chrome: Browser, shop: Served
) -> None:
    core = inside(shop.queue)
    token, _ = shop.do(create_token(core, "browser", Role.OPERATE, None))
    wrong: list[str] = []
    with chrome.new_context(extra_http_headers=ELSEWHERE) as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
        page.goto(f"{shop.url}/categories")
        assert page.url.endswith("/login?next=%2Fcategories")
        page.fill("#token", token)
        page.click("text=Sign in >> nth=-1")
        page.wait_for_url("**/categories")
        page.locator("form[action*='/categories/resume'] button").first.click()
        page.locator("#dialog[open]").wait_for()
        assert "browser" == shop.do(shop.queue.acts(1))[0].who
        shop.do(shop.queue.pause("imports", reason="provider is down"))
        page.keyboard.press("Escape")
        page.click("text=Sign out")
        page.wait_for_url("**/login")
        page.goto(f"{shop.url}/tasks")
        assert "/login" in page.url
    shop.do(revoke_token(core, "browser"))
    assert wrong == []
