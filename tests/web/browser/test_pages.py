"""Each page as a person sees it: in both themes, wide and narrow, by keyboard, without a fault."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect
from starlette.routing import Mount, Route

from support.browsers import Served
from wopr.calls.options import Options
from wopr.web.pages.rendering import NAV
from wopr.web.pages.routes import routes

MOST_SEEN = 60
expect.set_options(timeout=90_000)
AXE = (Path(__file__).parents[2] / "support" / "vendor" / "axe.min.js").read_text("utf-8")
WIDE: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
PATIENCE = 90_000
"""So many milliseconds something is waited for, on a machine that does other things, too."""
NO_PAGES = re.compile(r"^/(live|static|travel|tasks/(search|complete|act)|.*\{path|\{path)")
LIVE = '[data-live][data-state="live"]'


def _routes() -> list[Route]:
    [mount] = routes()
    assert isinstance(mount, Mount)
    found = [one for one in mount.routes if isinstance(one, Route)]
    return [one for one in found if "GET" in (one.methods or ())]


PATHS = sorted({one.path for one in _routes() if not NO_PAGES.match(one.path)})
"""Every page and every form, as it stands in the table of routes: new ones are covered at once."""


@pytest.fixture(scope="module")
def urls(shop: Served) -> dict[str, str]:
    """Find a URL for each route, by following links as a person does."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    table = {one.path: one for one in _routes()}
    waiting = [path for _, path in NAV] + ["/tasks?status=failed", "/tasks?status=started"]
    with httpx.Client(base_url=shop.url, timeout=60) as client:
        while waiting and len(seen) < MOST_SEEN:
            path = waiting.pop(0)
            seen.add(path)
            for href in re.findall(r'href="([^"#]+)', client.get(path).text):
                link = html.unescape(href)
                route = _matching(table, urlsplit(link).path)
                assert route != "/{path:path}", f"{path} links to {link}, which leads nowhere"
                if route and route not in found:
                    found[route] = link
                    waiting.append(link)
    return found


def _matching(table: dict[str, Route], path: str) -> str:
    scope = {"type": "http", "path": path, "method": "GET", "root_path": ""}
    return next((name for name, one in table.items() if one.matches(scope)[0].value == 2), "")


@contextmanager
def looking(chrome: Browser, shop: Served) -> Iterator[Page]:
    """Give a page; whatever goes wrong in it, or is asked of another host, fails the test."""
    wrong: list[str] = []
    with chrome.new_context(viewport=WIDE, color_scheme="light") as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda one: wrong.extend(_bad(one)))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda one: wrong.extend(_elsewhere(one.url, shop)))
        yield page
    assert wrong == []


def _bad(message: ConsoleMessage) -> list[str]:
    return [message.text] if message.type in {"error", "warning"} else []


def _elsewhere(url: str, shop: Served) -> list[str]:
    return [] if url.startswith((shop.url, "data:")) else [url]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_in_each_view(
    path: str, urls: dict[str, str], shop: Served, chrome: Browser, pictures: Path
) -> None:
    url = urls.get(path) or (path if "{" not in path else None)
    assert url is not None, f"no page links to {path}"
    name = path.strip("/").replace("/", "-").replace("{", "").replace("}", "") or "overview"
    with looking(chrome, shop) as page:
        answer = page.goto(shop.url + url)
        assert answer is not None
        assert answer.status == 200, page.inner_text("main")
        if page.query_selector("[data-live]"):
            page.wait_for_selector(LIVE)
        _look(page, pictures / f"{name}-wide.png")
        assert _faults(page, COLOURS) == []
        page.set_viewport_size(NARROW)
        _look(page, pictures / f"{name}-phone.png")
        page.emulate_media(color_scheme="dark")
        _look(page, pictures / f"{name}-phone-dark.png")
        page.set_viewport_size(WIDE)
        _look(page, pictures / f"{name}-dark.png")
        assert _faults(page, EVERYTHING) == []


def _look(page: Page, picture: Path) -> None:
    """Keep a picture; nothing is wider than what it is looked at with."""
    page.screenshot(path=picture, full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{picture.name}: it is {wide} px too wide"


def test_the_table_of_categories_fits_on_a_small_laptop(shop: Served, chrome: Browser) -> None:
    with looking(chrome, shop) as page:
        page.set_viewport_size({"width": 1300, "height": 800})
        page.goto(shop.url + "/categories")
        table = page.locator(".scroll").first
        assert table.evaluate("one => one.scrollWidth - one.clientWidth") <= 0
        page.set_viewport_size({"width": 900, "height": 800})  # there it scrolls, and the page not
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


COLOURS = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
EVERYTHING = {"resultTypes": ["violations"]}


def _faults(page: Page, options: dict[str, Any]) -> list[str]:
    """Return what axe-core finds wrong; it is brought in from beside the page, not by it."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']}: {node['html'][:200]} ({node.get('failureSummary', '')[:300]})"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]


def test_the_keyboard_is_enough(shop: Served, chrome: Browser) -> None:
    with looking(chrome, shop) as page:
        page.goto(shop.url)
        page.wait_for_selector(LIVE)
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.keyboard.press("t")
        page.wait_for_url("**/tasks")
        page.wait_for_selector(LIVE)
        page.keyboard.press("/")
        page.keyboard.type("name=bui")
        expect(page.locator('#completions [role="option"]')).to_have_count(1)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        expect(page.locator("[data-search]")).to_have_value("name=build ")
        page.keyboard.press("Enter")
        page.wait_for_url("**/tasks?name=build")
        page.wait_for_selector(LIVE)
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.locator("[data-selected-count]")).to_have_text("1 selected")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/tasks/[0-9a-f-]{36}"))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the page"


def test_an_act_is_asked_done_and_undone_without_leaving_the_page(
    shop: Served, chrome: Browser
) -> None:
    options: Options = {"delay": 3_600, "tags": ["mine"]}
    ids = shop.do(shop.queue.enqueue_ids("send_mail", [("x",), ("y",)], options))
    with looking(chrome, shop) as page:
        page.goto(f"{shop.url}/tasks?tag=mine")
        page.wait_for_selector(LIVE)
        page.click("text=Cancel…")
        expect(page.locator("#asked h2")).to_have_text("Cancel 2 of 2 tasks")
        page.fill('#asked [name="reason"]', "not today")
        page.click("#asked .primary")
        expect(page.locator("#asked h2")).to_have_text("2 tasks cancelled")
        expect(page.locator("tbody .st.cancelled")).to_have_count(2)  # live, behind the dialog
        page.click("text=Undo")
        expect(page.locator("tbody .st.pending")).to_have_count(2)
    assert {shop.do(shop.queue.require_task_info(one)).status.value for one in ids} == {"pending"}


def test_every_button_that_asks_first_opens_its_dialog(
    urls: dict[str, str], shop: Served, chrome: Browser
) -> None:
    opened = 0
    with looking(chrome, shop) as page:
        for path in sorted(url for route, url in urls.items() if route in PATHS):
            if not page.goto(shop.url + path) or not page.query_selector("#live"):
                continue
            for text in dict.fromkeys(page.locator('main a[hx-target="#asked"]').all_inner_texts()):
                button = page.locator('main a[hx-target="#asked"]', has_text=text).first
                if not button.is_visible():
                    continue
                button.click()
                expect(page.locator("#dialog")).to_be_visible()
                expect(page.locator("#asked h2").first).not_to_be_empty()
                page.keyboard.press("Escape")
                expect(page.locator("#dialog")).not_to_be_visible()
                opened += 1
    assert opened >= 5


def test_what_happens_is_seen_without_reload_and_rows_stay_where_they_are(
    shop: Served, chrome: Browser
) -> None:
    with looking(chrome, shop) as page:
        page.goto(f"{shop.url}/tasks")
        page.wait_for_selector(LIVE)
        first = page.locator("tr[data-row]").first.get_attribute("id")
        shop.do(shop.queue.enqueue_ids("send_mail", [("p",), ("q",), ("r",)], {"delay": 60}))
        expect(page.locator("text=3 new")).to_be_visible(timeout=PATIENCE)
        assert page.locator("tr[data-row]").first.get_attribute("id") == first
        page.click("text=3 new")
        page.wait_for_selector(LIVE)
        assert page.locator("tr[data-row]").first.get_attribute("id") != first


def test_a_hidden_tab_sleeps_and_a_lost_connection_says_since_when(
    shop: Served, chrome: Browser
) -> None:
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with looking(chrome, shop) as page:
        page.goto(shop.url)
        page.wait_for_selector(LIVE)
        page.evaluate(hide, True)
        expect(page.locator("[data-live-text]")).to_contain_text("asleep since")
        page.evaluate(hide, False)
        page.wait_for_selector(LIVE)
    with chrome.new_context() as context:  # an error in the console is what is asked for here
        page = context.new_page()
        page.goto(shop.url)
        page.wait_for_selector(LIVE)
        page.evaluate("""() => document.querySelector("#stream").dispatchEvent(
            new CustomEvent("trouble", {detail: {data: "The owner is gone."}}))""")
        expect(page.locator("[data-live-text]")).to_contain_text("old: as of")
        expect(page.locator("[data-live-text]")).to_contain_text("The owner is gone.")
        page.wait_for_selector(LIVE)  # the next state comes by itself


def test_the_theme_stays_chosen(shop: Served, chrome: Browser) -> None:
    def paint(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    with looking(chrome, shop) as page:
        page.goto(shop.url)
        light = paint(page)
        page.click("[data-theme-switch]")
        page.click("[data-theme-switch]")
        assert paint(page) != light
        page.goto(f"{shop.url}/tasks")
        assert paint(page) != light


def test_what_a_task_smuggles_in_can_not_act(shop: Served, chrome: Browser) -> None:
    """An attribute of htmx without the nonce of the page does nothing, however it came there."""
    with chrome.new_context() as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        told: list[str] = []
        page.on("console", lambda one: told.append(one.text))
        page.goto(f"{shop.url}/tasks")
        page.wait_for_selector(LIVE)
        page.evaluate("""() => {
            const evil = document.createElement("div");
            evil.innerHTML = '<b id="evil" hx-get="/tasks/act?verb=cancel" hx-trigger="load">x</b>';
            document.body.append(evil);
            htmx.process(evil);
        }""")
        assert page.locator("#evil").get_attribute("hx-get") is None
    assert any("blocked" in one for one in told)
