"""Where a request comes from, by what a browser says of it."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from wopr.domain.hosts import is_loopback
from wopr.remote.loopback import is_connected_by_another_user, owner_in, written
from wopr.web.guard.origins import is_foreign, is_of_a_browser

HOST = "127.0.0.1:8800"


@pytest.mark.parametrize(
    ("method", "headers", "foreign"),
    [
        ("POST", {}, False),
        ("POST", {"origin": "http://127.0.0.1:8800"}, False),
        ("POST", {"origin": "http://127.0.0.1:8800", "sec-fetch-site": "same-origin"}, False),
        ("GET", {"sec-fetch-site": "none"}, False),
        ("GET", {"sec-fetch-site": "cross-site", "visit": "1"}, False),
        ("GET", {"sec-fetch-site": "cross-site"}, True),
        ("GET", {"sec-fetch-site": "same-site"}, True),
        ("POST", {"sec-fetch-site": "cross-site", "visit": "1"}, True),
        ("POST", {"sec-fetch-site": "same-site"}, True),
        ("POST", {"sec-fetch-site": "nonsense"}, True),
        ("POST", {"origin": "null"}, True),
        ("POST", {"origin": ""}, True),
        ("POST", {"origin": "http://evil.example"}, True),
        ("GET", {"origin": "http://evil.example"}, True),
        ("POST", {"origin": "http://127.0.0.1"}, True),
        ("POST", {"origin": "http://127.0.0.1:8801"}, True),
        ("POST", {"origin": "http://127.0.0.1:8800.evil.example"}, True),
        ("POST", {"origin": "http://127.0.0.1:8800@evil.example"}, True),
        ("POST", {"origin": "http://127.0.0.1:99999"}, True),
        ("POST", {"origin": "file://127.0.0.1:8800"}, True),
        ("POST", {"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, True),
    ],
)
def test_what_a_page_of_another_origin_has_sent(
    method: str, headers: dict[str, str], foreign: bool
) -> None:
    if headers.pop("visit", None):
        headers |= {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert foreign is is_foreign(method, Headers({"host": HOST, **headers}))


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        ("https://queue.example", "queue.example", False),
        ("https://queue.example", "QUEUE.example:443", False),
        ("https://queue.example:8443", "queue.example:8443", False),
        ("http://[::1]:8800", "[::1]:8800", False),
        ("https://queue.example", "queue.example:80", True),
        ("https://queue.example", "127.0.0.1:8800", True),
    ],
)
def test_ports_count_and_letters_do_not(origin: str, host: str, foreign: bool) -> None:
    assert foreign is is_foreign("POST", Headers({"host": host, "origin": origin}))


@pytest.mark.parametrize(
    ("headers", "browser"),
    [
        ({}, False),
        ({"content-type": "application/json"}, False),
        ({"content-type": "application/x-www-form-urlencoded"}, True),
        ({"content-type": "TEXT/PLAIN; charset=utf-8"}, True),
        ({"content-type": "multipart/form-data; boundary=x"}, True),
        ({"content-type": "application/json", "cookie": "a=b"}, True),
        ({"origin": "http://127.0.0.1:8800"}, True),
        ({"referer": "http://127.0.0.1:8800/"}, True),
    ],
)
def test_what_a_page_could_have_sent_without_a_script(
    headers: dict[str, str], browser: bool
) -> None:
    assert browser is is_of_a_browser(Headers(headers))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((name, True) for name in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost")),
        *((name, False) for name in ("10.0.0.1", "0.0.0.0", "::", "host", "localhost.evil", "")),
    ],
)
def test_what_can_only_mean_this_machine(host: str, loopback: bool) -> None:
    assert loopback is is_loopback(host)


# -- whose program it is ------------------------------------------------------------------

CLIENT, SERVER = ("127.0.0.1", 0x9C40), ("127.0.0.1", 0x2260)
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"


def row(local: str, remote: str, state: str, user: int) -> str:
    """Return a line as Linux writes it."""
    return f"   1: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {user}  0 7"


ENDS = "0100007F:9C40", "0100007F:2260"
MAPPED = tuple(f"0000000000000000FFFF0000{end}" for end in ENDS)


@pytest.mark.parametrize(
    ("rows", "owner"),
    [
        ([], None),
        ([row("0100007F:9C41", ENDS[1], "01", 33)], None),
        ([row(ENDS[1], ENDS[0], "01", 1_000), row(*ENDS, "01", 33)], 33),
        ([row(*MAPPED, "01", 33)], 33),
        ([row(*ENDS, "06", 0), row(ENDS[1], ENDS[0], "08", 1_000)], -1),
        ([row(ENDS[1], ENDS[0], "01", 1_000)], -1),
    ],
)
def test_the_kernel_tells_whose_socket_it_is(rows: list[str], owner: int | None) -> None:
    assert owner == owner_in([HEAD, *rows], written(*CLIENT), written(*SERVER))


def test_nobody_is_known_of_a_connection_that_there_is_not() -> None:
    assert not is_connected_by_another_user(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert not is_connected_by_another_user(("testclient", 1), ("testserver", 2))
