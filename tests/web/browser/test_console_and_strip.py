"""The SQL console and the strip of the last week, as a person uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from support.browsers import Served

CHOSEN = """() => {
    const query = document.querySelector("#query");
    return query.value.slice(query.selectionStart, query.selectionEnd);
}"""
PATIENCE = 90_000
"""So many milliseconds something is waited for, on a machine that does other things, too."""


@pytest.fixture
def page(chrome: Browser, shop: Served) -> Iterator[Page]:
    """Give a page of a browser that keeps nothing of others; what fails in it fails the test."""
    wrong: list[str] = []
    with chrome.new_context(viewport={"width": 1440, "height": 900}) as context:
        context.set_default_timeout(PATIENCE)
        found = context.new_page()
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
        yield found
    assert wrong == []


def test_a_question_is_completed_asked_mended_saved_and_downloaded(
    page: Page, shop: Served, tmp_path: Path
) -> None:
    page.goto(f"{shop.url}/sql")
    page.locator("#query").focus()
    page.keyboard.type("select categ")
    page.locator("#words li").first.wait_for()
    page.keyboard.press("Tab")
    assert page.input_value("#query") == "select category"
    page.keyboard.type(", cuont(*) as tasks\nfrom tasks group by category")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Enter")
    page.locator("#query[data-marked]").wait_for()
    assert page.evaluate(CHOSEN) == "cuont"
    page.keyboard.type("count")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Enter")
    page.locator("#answer table").wait_for()
    assert "mail" in page.inner_text("#answer table")
    page.on("dialog", lambda one: one.accept("by category"))
    page.click("#save")
    with page.expect_download() as got:
        page.click("text=All as CSV")
    got.value.save_as(tmp_path / "answer.csv")
    assert (tmp_path / "answer.csv").read_text("utf-8").startswith("category,tasks\n")
    page.goto(f"{shop.url}/sql")
    page.click("#saved >> text=by category")
    assert "count(*)" in page.input_value("#query")


def test_the_mark_is_moved_and_the_page_is_as_of_then_until_somebody_goes_on(
    page: Page, shop: Served
) -> None:
    page.goto(f"{shop.url}/workers")
    slider = page.locator("#travel-slider")
    slider.wait_for()
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/workers?at=*")
    page.locator("body.past").wait_for()
    assert page.locator("main form[method=post]").count() == 0
    assert "No workers" in page.inner_text("main")
    page.click("nav >> text=Tasks")
    page.wait_for_url("**/tasks?at=*")
    assert "No task" in page.inner_text("main")
    page.click("[data-travel-now]")
    page.wait_for_url(f"{shop.url}/tasks")
    page.locator("tr[data-row]").first.wait_for()
