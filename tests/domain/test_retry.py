"""When a failed attempt is tried again, in tenacity's words."""

from __future__ import annotations

import json
import math
import random
import re
import threading
from datetime import timedelta
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from tenacity import (
    RetryCallState,
    retry_always,
    retry_base,
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_message,
    retry_if_not_exception_type,
    retry_if_result,
    retry_never,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_before_delay,
    stop_never,
    stop_when_event_set,
    wait_chain,
    wait_exception,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)
from tenacity.asyncio.retry import retry_if_exception as async_retry_if_exception
from tenacity.wait import wait_base

from wopr.domain.errors import InvalidCallError
from wopr.domain.retry import (
    DEFAULT,
    MAX_DELAY_SECONDS,
    RetryDecision,
    RetryPolicy,
    decide_retry,
    describe,
    next_delay,
)


class OwnError(Exception):
    """An exception type that is not builtin."""


class NamesakeError(Exception):
    """An exception type that calls itself like a builtin one."""


NamesakeError.__name__ = "OSError"


def decide(
    retry: Any = None,
    *,
    used: int = 0,
    limit: int | None = 10,
    error: BaseException | None = None,
    seconds: float = 0.0,
    rng: random.Random | None = None,
) -> RetryDecision:
    return decide_retry(
        RetryPolicy.of(retry),
        retry_count=used,
        max_retries=limit,
        exception=error or ValueError("no"),
        attempt=used + 1,
        seconds_since_first_start=seconds,
        rng=rng or random.Random(1),
    )


def delays(retry: Any = None, *, count: int = 5, **more: Any) -> list[float | None]:
    return [decide(retry, used=used, **more).delay for used in range(count)]


# -- the default -----------------------------------------------------------------


def test_the_default_waits_double_up_to_a_minute() -> None:
    assert [2, 4, 8, 16, 32, 60, 60, 60] == delays(count=8, limit=8)


def test_the_thousandth_retry_still_waits_a_minute() -> None:
    assert 60 == decide(used=999, limit=1_000).delay


@pytest.mark.parametrize(
    ("used", "limit", "allowed"),
    [(0, 0, False), (0, 1, True), (1, 1, False), (2, 3, True), (3, 3, False), (9, 3, False)],
)
def test_a_retry_is_allowed_up_to_max_retries(used: int, limit: int, allowed: bool) -> None:
    assert allowed is (decide(used=used, limit=limit).delay is not None)


def test_no_limit_at_all_means_no_retry() -> None:
    decision = decide(limit=None)
    assert None is decision.delay
    assert "neither max_retries nor the policy's stop" in decision.reason


def test_next_delay_is_the_delay_of_the_decision() -> None:
    assert 4.0 == next_delay(
        DEFAULT,
        retry_count=1,
        max_retries=3,
        exception=None,
        attempt=7,
        seconds_since_first_start=0,
        rng=random.Random(1),
    )


def test_a_timeout_is_a_failure_like_any_other() -> None:
    assert 2 == decide(error=TimeoutError("after 5 s")).delay


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), BaseException()], ids=repr)
def test_what_is_no_exception_is_not_retried(error: BaseException) -> None:
    for retry in (None, wait_fixed(1), stop_after_attempt(5)):
        assert None is decide(retry, error=error).delay
    assert 2 == decide(retry_if_exception_type(BaseException), error=error).delay


# -- tenacity's objects ------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (wait_fixed(3), [3, 3, 3]),
        (wait_none(), [0, 0, 0]),
        (wait_fixed(timedelta(minutes=1)), [60, 60, 60]),
        (wait_exponential(multiplier=3, max=10), [3, 6, 10]),
        (wait_incrementing(start=1, increment=5), [1, 6, 11]),
        (wait_chain(wait_fixed(1), wait_fixed(9)), [1, 9, 9]),
        (wait_fixed(1) + wait_incrementing(0, 10), [1, 11, 21]),
        (wait_random(5, 5), [5, 5, 5]),
        (wait_exponential_jitter(jitter=0), [1, 2, 4]),
        (wait_exception(lambda error: len(str(error))), [2, 2, 2]),
    ],
    ids=range(10),
)
def test_any_wait_counts_the_retry_it_waits_for(wait: wait_base, expected: list[float]) -> None:
    assert expected == delays(wait, count=3)


def test_a_random_wait_stays_in_its_range() -> None:
    found = delays(wait_random_exponential(max=60), count=5)
    assert all(0 <= delay <= 2**n for n, delay in enumerate(found) if delay is not None)
    assert 1 < len(set(found))


@pytest.mark.parametrize(
    ("stop", "limit", "expected"),
    [
        (stop_after_attempt(3), None, 2),
        (stop_after_attempt(3), 1, 1),
        (stop_after_attempt(2), 9, 1),
        (stop_after_attempt(1), 9, 0),
        (stop_never, 4, 4),
        (stop_never, None, 6),
        (stop_after_attempt(4) | stop_after_attempt(2), None, 1),
        (stop_after_attempt(4) & stop_after_attempt(2), None, 3),
    ],
    ids=range(8),
)
def test_whichever_stops_first_stops(stop: Any, limit: int | None, expected: int) -> None:
    found = delays(stop, count=6, limit=limit)
    assert expected == len([delay for delay in found if delay is not None])
    assert [None] * (6 - expected) == found[expected:]


def test_stop_after_delay_counts_from_the_first_start() -> None:
    assert 2 == decide(stop_after_delay(100), seconds=99.9).delay
    assert None is decide(stop_after_delay(100), seconds=100).delay


def test_stop_before_delay_counts_the_coming_wait() -> None:
    assert 5 == decide([stop_before_delay(100), wait_fixed(5)], seconds=94).delay
    assert None is decide([stop_before_delay(100), wait_fixed(5)], seconds=95).delay


CAUSED = ValueError("no")
CAUSED.__cause__ = KeyError("deep")


@pytest.mark.parametrize(
    ("retry", "allowed"),
    [
        (retry_if_exception_type(ValueError), True),
        (retry_if_exception_type((KeyError, LookupError)), False),
        (retry_if_not_exception_type(ValueError), False),
        (retry_unless_exception_type(KeyError), True),
        (retry_if_exception_cause_type(KeyError), True),
        (retry_if_exception_cause_type(OSError), False),
        (retry_if_exception(lambda error: "no" in str(error)), True),
        (retry_if_exception_message("no"), True),
        (retry_if_exception_message(match="x.*"), False),
        (retry_if_not_exception_message("no"), False),
        (retry_if_exception_type(ValueError) & retry_if_exception_message("no"), True),
        (retry_if_exception_type(KeyError) | retry_if_exception_message("no"), True),
        (retry_if_exception_type(KeyError) & retry_if_exception_message("no"), False),
        (retry_always, True),
        (retry_never, False),
        (retry_if_result(lambda result: True), False),
    ],
    ids=range(16),
)
def test_any_retry_object_decides(retry: retry_base, allowed: bool) -> None:
    assert allowed is (decide(retry, error=CAUSED).delay is not None)


def test_a_policy_sees_the_state_tenacity_would_show_it() -> None:
    seen: list[RetryCallState] = []

    class Watch(wait_base):
        def __call__(self, retry_state: RetryCallState) -> float:
            seen.append(retry_state)
            return 1.0

    error = ValueError("no")
    decide_retry(
        RetryPolicy(wait=Watch()),
        retry_count=2,
        max_retries=5,
        exception=error,
        attempt=7,
        seconds_since_first_start=12.5,
        rng=random.Random(1),
    )
    (state,) = seen
    assert 3 == state.attempt_number
    assert 12.5 == state.seconds_since_start
    assert 0 == state.idle_for
    assert state.outcome is not None
    assert state.outcome.failed
    assert error is state.outcome.exception()
    assert 7 == state.outcome.attempt_number
    assert "attempt #3" in repr(state)


def test_a_failure_without_an_exception_is_retried_too() -> None:
    for policy in (DEFAULT, RetryPolicy(stop=stop_never)):
        decision = decide_retry(
            policy,
            retry_count=0,
            max_retries=1,
            exception=None,
            attempt=1,
            seconds_since_first_start=0,
            rng=random.Random(1),
        )
        assert 2 == decision.delay


def test_dont_retry_wins_over_everything() -> None:
    policy = RetryPolicy(retry=retry_always, dont_retry=(LookupError,))
    decision = decide(policy, error=KeyError("x"))
    assert (None, "KeyError is in dont_retry") == decision
    assert 2 == decide(policy, error=ValueError()).delay


# -- jitter and odd waits ----------------------------------------------------------


def test_jitter_comes_from_the_given_source() -> None:
    policy = RetryPolicy(wait=wait_fixed(10), jitter=5)
    one = delays(policy, rng=random.Random(3), count=20, limit=20)
    assert one == delays(policy, rng=random.Random(3), count=20, limit=20)
    assert one != delays(policy, rng=random.Random(4), count=20, limit=20)
    assert all(delay is not None and 10 <= delay <= 15 for delay in one)
    assert 2 < (decide(RetryPolicy(jitter=1.0)).delay or 0) <= 3


class Gives(wait_base):
    """A wait that gives what it is told to, or raises it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, retry_state: RetryCallState) -> float:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-5, 0),
        (-math.inf, None),
        (math.nan, None),
        (math.inf, None),
        (1e300, MAX_DELAY_SECONDS),
        (10**400, None),
        (timedelta(seconds=3), 3),
        (None, None),
        ("soon", None),
        (True, 1),
    ],
    ids=range(10),
)
def test_an_odd_wait_is_made_sane_or_ends_the_retries(value: Any, expected: float | None) -> None:
    decision = decide(Gives(value))
    assert expected == decision.delay
    if expected is None:
        assert "retry policy" in decision.reason
    if type(value) is float:
        assert expected == decide(wait_fixed(value)).delay


class EvilError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("evil")


def test_a_policy_that_raises_ends_the_retries_and_says_so() -> None:
    decision = decide(Gives(ZeroDivisionError("oops")))
    assert (None, "the retry policy itself raised ZeroDivisionError: oops") == decision
    assert None is decide(retry_if_exception(lambda error: 1 / 0 > 1)).delay
    assert "EvilError" in decide(Gives(EvilError())).reason


@given(
    st.integers(0, 10_000),
    st.none() | st.integers(0, 10_000),
    st.floats(0, 1e12),
    st.sampled_from([None, wait_exponential(), wait_exponential_jitter(), stop_never]),
)
def test_a_delay_is_always_a_sane_number(
    used: int, limit: int | None, seconds: float, retry: Any
) -> None:
    delay = decide(retry, used=used, limit=limit, seconds=seconds).delay
    assert delay is None or 0 <= delay <= MAX_DELAY_SECONDS


# -- what retry= accepts -------------------------------------------------------------


def test_retry_accepts_one_object_or_one_of_each() -> None:
    wait, stop, retry = wait_fixed(1), stop_after_attempt(2), retry_if_exception_type(OSError)
    assert RetryPolicy() == RetryPolicy.of(None) == RetryPolicy.of([])
    assert RetryPolicy(wait=wait) == RetryPolicy.of(wait) == RetryPolicy.of((wait,))
    assert RetryPolicy(stop=stop) == RetryPolicy.of(stop)
    assert RetryPolicy(retry=retry) == RetryPolicy.of(retry)
    assert RetryPolicy(wait, stop, retry) == RetryPolicy.of([retry, wait, stop])
    policy = RetryPolicy(jitter=1)
    assert policy is RetryPolicy.of(policy)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "can't be int"),
        ("wait_fixed", "can't be str"),
        (True, "can't be bool"),
        (ValueError, "can't be type"),
        (lambda state: 1.0, "can't be function"),
        (wait_fixed, "got the class wait_fixed: call it"),
        ([wait_fixed(1), wait_fixed(2)], "two wait objects.*wait_a \\+ wait_b"),
        ([wait_fixed(1), 5], "can't be int"),
        ({"wait": wait_fixed(1)}, "can't be dict"),
        (tenacity.Retrying(), "can't be Retrying"),
    ],
    ids=range(10),
)
def test_anything_else_is_refused_with_the_right_forms(value: Any, text: str) -> None:
    with pytest.raises(InvalidCallError, match=text) as caught:
        RetryPolicy.of(value)
    assert "retry=wait_fixed(5)" in str(caught.value)
    assert "max_retries=3" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"wait": 5}, "wait=…"),
        ({"wait": stop_never}, "wait=…"),
        ({"stop": wait_fixed(1)}, "stop=…"),
        ({"retry": ValueError}, "retry=…"),
        ({"retry": async_retry_if_exception(lambda error: True)}, "asynchronous"),
        ({"dont_retry": "ValueError"}, "tuple of exception types"),
        ({"dont_retry": (ValueError, int)}, "tuple of exception types"),
        ({"jitter": -1}, "jitter"),
        ({"jitter": math.nan}, "jitter"),
        ({"jitter": math.inf}, "jitter"),
        ({"jitter": "1"}, "jitter"),
    ],
    ids=range(11),
)
def test_a_policy_of_wrong_parts_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidCallError, match=text):
        RetryPolicy(**fields)


def test_one_exception_type_needs_no_tuple() -> None:
    policy = RetryPolicy(dont_retry=ValueError)  # type: ignore[arg-type]
    assert (ValueError,) == policy.dont_retry


# -- stored with a task --------------------------------------------------------------

STORABLE: list[RetryPolicy] = [
    RetryPolicy(),
    RetryPolicy(jitter=2.5, dont_retry=(ValueError, KeyboardInterrupt, ExceptionGroup)),
    RetryPolicy(wait=wait_none(), stop=stop_never, retry=retry_always),
    RetryPolicy(wait=wait_fixed(timedelta(minutes=2)), retry=retry_never),
    RetryPolicy(wait=wait_random(1, 5), stop=stop_after_attempt(3)),
    RetryPolicy(wait=wait_incrementing(1, 2, 3), stop=stop_after_delay(timedelta(hours=1))),
    RetryPolicy(wait=wait_exponential(2, 50, 3, 1), stop=stop_before_delay(5)),
    RetryPolicy(wait=wait_exponential(max=math.inf)),
    RetryPolicy(wait=wait_random_exponential(multiplier=0.5, max=60)),
    RetryPolicy(wait=wait_exponential_jitter(multiplier=2, max=9, jitter=3, min=1)),
    RetryPolicy(wait=wait_chain(wait_fixed(1), wait_fixed(1) + wait_random(0, 2) + wait_none())),
    RetryPolicy(stop=stop_after_attempt(3) | (stop_after_delay(9) & stop_never)),
    RetryPolicy(retry=retry_if_exception_type((OSError, ValueError))),
    RetryPolicy(retry=retry_if_exception_type(ConnectionError)),
    RetryPolicy(retry=retry_if_not_exception_type(LookupError)),
    RetryPolicy(retry=retry_unless_exception_type(LookupError)),
    RetryPolicy(retry=retry_if_exception_cause_type(OSError)),
    RetryPolicy(retry=retry_if_exception_message("no")),
    RetryPolicy(retry=retry_if_exception_message(match="(?i)timeout.*")),
    RetryPolicy(retry=retry_if_not_exception_message(match="x")),
    RetryPolicy(
        retry=retry_if_exception_type(OSError)
        & (retry_if_exception_message("a") | retry_if_exception_message("b"))
    ),
]


def attributes(part: Any) -> Any:
    """Return all that makes up a tenacity object, to compare two."""
    if isinstance(part, (list, tuple)):
        return tuple(item if isinstance(item, type) else attributes(item) for item in part)
    if type(part).__module__.startswith("tenacity"):
        items = {
            name: attributes(value) for name, value in vars(part).items() if name != "predicate"
        }
        return type(part), items
    return part if not isinstance(part, type) else (part,)


@pytest.mark.parametrize("policy", STORABLE, ids=range(len(STORABLE)))
def test_a_policy_of_tenacitys_own_parts_survives_storage(policy: RetryPolicy) -> None:
    text = policy.to_json()
    found = RetryPolicy.from_json(text)
    assert text == found.to_json()
    for name in ("wait", "stop", "retry", "dont_retry", "jitter"):
        assert attributes(getattr(policy, name)) == attributes(getattr(found, name))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


class OwnWait(wait_fixed):
    pass


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (RetryPolicy(retry=retry_if_exception(lambda error: True)), "retry_if_exception"),
        (RetryPolicy(retry=retry_if_result(lambda error: True)), "retry_if_result"),
        (RetryPolicy(retry=retry_if_exception_type(OwnError)), "OwnError"),
        (RetryPolicy(retry=retry_if_exception_type((OSError, OwnError))), "OwnError"),
        (RetryPolicy(retry=retry_if_exception_type(NamesakeError)), "NamesakeError"),
        (RetryPolicy(retry=retry_always | (lambda state: True)), "function"),
        (RetryPolicy(wait=wait_exception(lambda error: 1)), "wait_exception"),
        (RetryPolicy(wait=wait_fixed(1) + OwnWait(1)), "OwnWait"),
        (RetryPolicy(wait=Gives(1)), "Gives"),
        (RetryPolicy(stop=stop_when_event_set(threading.Event())), "stop_when_event_set"),
        (RetryPolicy(dont_retry=(OwnError,)), "OwnError"),
        (
            RetryPolicy(retry=retry_if_exception_message(match=re.compile("x", re.IGNORECASE))),
            "flags",
        ),
    ],
    ids=range(12),
)
def test_what_can_not_be_stored_is_sent_to_the_task(policy: RetryPolicy, text: str) -> None:
    with pytest.raises(InvalidCallError, match=text) as caught:
        policy.to_json()
    assert "@queue.task(retry=…)" in str(caught.value)


NESTED = '{"type": "wait_combine", "items": [' * 150 + "]}" * 150


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"weight": 1}',
        '{"wait": 5}',
        '{"wait": null}',
        '{"wait": {}}',
        '{"wait": {"type": "system"}}',
        '{"wait": {"type": "os.system", "command": "true"}}',
        '{"wait": {"type": ["wait_fixed"]}}',
        '{"wait": {"type": "wait_fixed"}}',
        '{"wait": {"type": "wait_fixed", "wait": "5"}}',
        '{"wait": {"type": "wait_fixed", "wait": [1]}}',
        '{"wait": {"type": "wait_fixed", "wait": 1, "x": 2}}',
        '{"wait": {"type": "wait_fixed", "wait": 1, "items": []}}',
        '{"wait": {"type": "stop_never"}}',
        '{"wait": {"type": "wait_chain", "items": [1]}}',
        '{"retry": {"type": "retry_if_exception", "predicate": "print"}}',
        '{"retry": {"type": "retry_if_exception_type", "exception_types": ["print"]}}',
        '{"retry": {"type": "retry_if_exception_type", "exception_types": "OSError"}}',
        '{"retry": {"type": "retry_if_exception_message", "match": "("}}',
        '{"retry": {"type": "retry_if_exception_message", "message": 5}}',
        '{"dont_retry": ["tests.OwnError"]}',
        '{"dont_retry": "ValueError"}',
        '{"jitter": -1}',
        '{"jitter": "1"}',
        f'{{"wait": {NESTED}}}',
    ],
    ids=range(28),
)
def test_a_stored_text_that_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidCallError, match="stored retry policy"):
        RetryPolicy.from_json(text)


# -- the preview ---------------------------------------------------------------------


def test_a_policy_describes_itself() -> None:
    assert ["retry 1 after 2 s", "retry 2 after 4 s", "retry 3 after 8 s"] == describe(
        DEFAULT, count=3
    )
    assert ["retry 1 after 2 s", "no retry 2: all retries used up"] == describe(
        DEFAULT, max_retries=1
    )
    policy = RetryPolicy.of(
        [wait_fixed(0.5), stop_after_attempt(2), retry_if_exception_type(OSError)]
    )
    assert ["retry 1 after 0.5 s", "no retry 2: the policy's stop says stop"] == describe(policy)
