"""Names of modules, the patterns that they match, and the functions inside of them."""

from __future__ import annotations

import pytest

from wopr.domain.modulenames import matches, path_of, patterns_in


@pytest.mark.parametrize(
    ("pattern", "module", "expected"),
    [
        ("shop", "shop", True),
        ("shop", "shop.tasks", False),
        ("shop", "shopping", False),
        ("shop.tasks", "shop.tasks", True),
        ("shop.tasks", "shopxtasks", False),
        ("shop.*", "shop.tasks", True),
        ("shop.*", "shop", False),
        ("shop.*", "shop.mail.tasks", False),
        ("shop.*.tasks", "shop.mail.tasks", True),
        ("shop.*.tasks", "shop.tasks", False),
        ("shop.*.tasks", "shop.mail.eu.tasks", False),
        ("shop.*_tasks", "shop.mail_tasks", True),
        ("shop.*_tasks", "shop.tasks", False),
        ("shop.**", "shop", True),
        ("shop.**", "shop.mail.eu", True),
        ("shop.**", "shopping.mail", False),
        ("shop.**.tasks", "shop.tasks", True),
        ("shop.**.tasks", "shop.mail.eu.tasks", True),
        ("shop.**.tasks", "shop.mail.eu.other", False),
    ],
)
def test_a_star_is_of_one_part_and_two_are_any_parts(
    pattern: str, module: str, expected: bool
) -> None:
    assert matches(pattern, module) is expected


@pytest.mark.parametrize(
    "text", ["*", "**", "*.tasks", "shop*.tasks", "shop.", ".shop", "shop.***", "a b", "os/path"]
)
def test_what_would_match_modules_of_anybody_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="is no pattern of modules"):
        patterns_in(text)


def test_patterns_are_separated_by_commas() -> None:
    assert patterns_in(" shop.*.tasks, mail.tasks,") == ("shop.*.tasks", "mail.tasks")
    assert patterns_in(" ") == ()


@pytest.mark.parametrize("name", ["shop.tasks.send", "shop.tasks:send"])
def test_a_function_is_named_with_a_colon_or_with_dots(name: str) -> None:
    assert str(path_of(name)) == "shop.tasks.send"


@pytest.mark.parametrize(
    "name",
    [
        *("send", ":send", "shop.tasks:", "shop:tasks:send", "shop..send", "shop.tasks:a.send"),
        *("shop._tasks.send", "_shop.send", "shop.__init__.send", "shop.tasks:_send"),
        *("shop.tasks:send()", "shop.tasks:\nsend", "shop.1.send", "shop/tasks.send", "a." * 101),
    ],
)
def test_what_can_be_no_public_function_of_a_module_is_none(name: str) -> None:
    assert path_of(name) is None
