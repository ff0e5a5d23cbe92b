"""When a failed attempt is tried again: tenacity's objects as the language, one decision."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import tenacity
from tenacity.retry import retry_base
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_fixed, wait_none

from wopr.domain.callables import is_async_callable
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import safe_text, type_name
from wopr.domain.retryjson import parts_from_json, parts_to_json

MAX_BACKOFF_SECONDS = 60.0
"""The longest wait of the default back-off."""
MAX_DELAY_SECONDS = 10 * 365 * 86_400.0
"""A longer wait counts as this one: later dates may not exist."""

_FORMS = (
    "Give a tenacity wait, stop or retry object (retry=wait_fixed(5)), a list with one of each "
    "(retry=[wait_exponential(max=60), stop_after_delay(3600), "
    "retry_if_exception_type(OSError)]), or RetryPolicy(wait=…, stop=…, retry=…, "
    "dont_retry=(ValueError,), jitter=1.0). How many retries there are: max_retries=3."
)


class RetryDecision(NamedTuple):
    """What becomes of a failed attempt.

    Attributes:
        delay: Seconds until the next attempt; None when there is none.
        reason: Why, for the history.
    """

    delay: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failures are retried.

    Attributes:
        wait: A tenacity ``wait_*``: seconds before the next attempt. None: 2, 4, 8, 16, 32,
            60, 60, … seconds.
        stop: A tenacity ``stop_*``: when to give up. None: after ``max_retries``.
        retry: A tenacity ``retry_if_*``: which exceptions are retried. None: each ``Exception``.
        dont_retry: Exception types that fail at once.
        jitter: Up to so many seconds are added to each wait, evenly spread.

    Raises:
        InvalidCallError: A value is not of these.
    """

    wait: wait_base | None = None
    stop: stop_base | None = None
    retry: retry_base | None = None
    dont_retry: tuple[type[BaseException], ...] = ()
    jitter: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no policy, before any task depends on it."""
        _check_part("wait", self.wait, wait_base)
        _check_part("stop", self.stop, stop_base)
        _check_part("retry", self.retry, retry_base)
        object.__setattr__(self, "dont_retry", _exception_types(self.dont_retry))
        if type(self.jitter) not in (int, float) or not 0 <= self.jitter <= MAX_DELAY_SECONDS:
            raise InvalidCallError(
                f"jitter must be a number of seconds from 0 to {MAX_DELAY_SECONDS:,.0f}."
            )

    @classmethod
    def of(
        cls,
        value: RetryPolicy
        | wait_base
        | stop_base
        | retry_base
        | Sequence[wait_base | stop_base | retry_base]
        | None,
    ) -> RetryPolicy:
        """Return the policy that ``retry=value`` means.

        Raises:
            InvalidCallError: ``value`` is none of the forms it shows.
        """
        if value is None:
            return DEFAULT
        if isinstance(value, RetryPolicy):
            return value
        parts: dict[str, object] = {}
        for part in value if isinstance(value, (list, tuple)) else (value,):
            name = _part_name(part)
            if name in parts:
                raise InvalidCallError(
                    f"retry= has two {name} objects. Combine them first: wait_a + wait_b, "
                    f"stop_a | stop_b, retry_a & retry_b. {_FORMS}"
                )
            parts[name] = part
        return cls(**parts)  # type: ignore[arg-type]

    def to_json(self) -> str:
        """Return the policy as JSON text, to be stored with a task.

        Raises:
            InvalidCallError: A part can't be stored: a function, a class that isn't
                tenacity's, an exception type that isn't builtin.
        """
        parts = {"wait": self.wait, "stop": self.stop, "retry": self.retry}
        return parts_to_json(parts, self.dont_retry, self.jitter)

    @classmethod
    def from_json(cls, text: str) -> RetryPolicy:
        """Return the policy of a text of :meth:`to_json`, importing nothing.

        Raises:
            InvalidCallError: The text is none.
        """
        try:
            return cls(**parts_from_json(text))
        except Exception as error:
            raise InvalidCallError(
                f"The stored retry policy {str(text)[:200]!r} can't be read: {safe_text(error)}."
            ) from error


def _exception_types(value: object) -> tuple[type[BaseException], ...]:
    try:
        kinds = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    except Exception:  # a list of someone's own making
        kinds = (None,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise InvalidCallError(
            "dont_retry must be a tuple of exception types, like (ValueError, KeyError)."
        )
    return kinds


def _part_name(part: object) -> str:
    for name, base in (("wait", wait_base), ("stop", stop_base), ("retry", retry_base)):
        if isinstance(part, base):
            return name
    if isinstance(part, type) and issubclass(part, (wait_base, stop_base, retry_base)):
        raise InvalidCallError(f"retry= got the class {part.__name__}: call it. {_FORMS}")
    raise InvalidCallError(f"retry= can't be {type_name(part)}. {_FORMS}")


def _check_part(name: str, value: object, base: type) -> None:
    if value is None:
        return
    if not isinstance(value, base):
        raise InvalidCallError(f"RetryPolicy({name}=…) can't be {type_name(value)}. {_FORMS}")
    if is_async_callable(value):
        raise InvalidCallError(
            f"RetryPolicy({name}=…) can't be the asynchronous {type_name(value)}: the decision "
            f"is made at once. Use the one of tenacity itself, not of tenacity.asyncio."
        )


def asking_for(policy: RetryPolicy, seconds: float) -> RetryPolicy:
    """Return a policy under which the function itself has said when: only its end still counts."""
    return RetryPolicy(wait=wait_fixed(seconds), stop=policy.stop)


DEFAULT = RetryPolicy()
"""Back-off of 2, 4, 8, … 60 seconds, ``max_retries`` times."""

_OWNER = tenacity.Retrying(reraise=True)


def next_delay(
    policy: RetryPolicy,
    *,
    retry_count: int,
    max_retries: int | None,
    exception: BaseException | None,
    attempt: int,
    seconds_since_first_start: float,
    rng: random.Random,
) -> float | None:
    """Return the seconds before the next attempt, or None for no retry.

    The ``delay`` of :func:`decide_retry`, which also says why.
    """
    return decide_retry(
        policy,
        retry_count=retry_count,
        max_retries=max_retries,
        exception=exception,
        attempt=attempt,
        seconds_since_first_start=seconds_since_first_start,
        rng=rng,
    ).delay


def decide_retry(
    policy: RetryPolicy,
    *,
    retry_count: int,
    max_retries: int | None,
    exception: BaseException | None,
    attempt: int,
    seconds_since_first_start: float,
    rng: random.Random,
) -> RetryDecision:
    """Decide what becomes of a failed attempt. Never raises.

    A policy object that raises, or waits for NaN or ever, ends the task: the
    reason says so.

    Args:
        policy: The task's.
        retry_count: Retries used before this failure.
        max_retries: Most retries; None leaves it to ``policy.stop``, and without
            that means none.
        exception: What the attempt raised; None if it left no exception behind.
        attempt: Number of the attempt that failed. It counts crashes and interruptions too,
            so tenacity's ``attempt_number`` is ``retry_count + 1`` instead; its outcome
            carries this one.
        seconds_since_first_start: Since the first attempt started.
        rng: Draws the jitter (tenacity's own random waits use :mod:`random`).
    """
    try:
        if max_retries is None and policy.stop is None:
            return _NO_LIMIT
        if max_retries is not None and retry_count >= max_retries:
            return _USED_UP if max_retries else _NONE_ALLOWED
        if issubclass(type(exception), policy.dont_retry):
            return RetryDecision(None, f"{type_name(exception)} is in dont_retry")
        if policy.stop is None and policy.retry is None:
            if exception is not None and not issubclass(type(exception), Exception):
                return RetryDecision(None, f"{type_name(exception)} is no Exception")
            wait = policy.wait
            if wait is None:
                return RetryDecision(_backoff(retry_count) + _jitter(policy, rng), "failed")
            if type(wait) is wait_none or type(wait) is wait_fixed:
                return _checked(wait.wait_fixed, policy, rng)
        return _ask(policy, retry_count, exception, attempt, seconds_since_first_start, rng)
    except BaseException as error:  # the policy is somebody's code, and so is the error's class
        return RetryDecision(
            None, f"the retry policy itself raised {type_name(error)}: {safe_text(error)}"
        )


_NO_LIMIT = RetryDecision(None, "no retries: neither max_retries nor the policy's stop is set")
_NONE_ALLOWED = RetryDecision(None, "no retries allowed")
_USED_UP = RetryDecision(None, "all retries used up")


def _backoff(retry_count: int) -> float:
    return float(2 << retry_count) if retry_count < 5 else MAX_BACKOFF_SECONDS


def _jitter(policy: RetryPolicy, rng: random.Random) -> float:
    return rng.uniform(0.0, policy.jitter) if policy.jitter else 0.0


def _checked(wait: object, policy: RetryPolicy, rng: random.Random) -> RetryDecision:
    seconds = wait.total_seconds() if isinstance(wait, timedelta) else float(wait)  # type: ignore[arg-type]
    if not math.isfinite(seconds):
        return RetryDecision(None, f"the retry policy's wait is {seconds} seconds")
    seconds = max(seconds, 0.0) + _jitter(policy, rng)
    return RetryDecision(min(seconds, MAX_DELAY_SECONDS), "failed")


def _ask(
    policy: RetryPolicy,
    retry_count: int,
    exception: BaseException | None,
    attempt: int,
    seconds: float,
    rng: random.Random,
) -> RetryDecision:
    """Put the question to tenacity's objects, in tenacity's order: retry, wait, stop."""
    error = exception or RuntimeError("the attempt failed without an exception")
    state = tenacity.RetryCallState(_OWNER, None, (), {})
    state.attempt_number = retry_count + 1
    state.start_time = 0.0
    state.outcome = tenacity.Future.construct(attempt, error, has_exception=True)
    state.outcome_timestamp = seconds
    if policy.retry is None:
        if not issubclass(type(error), Exception):
            return RetryDecision(None, f"{type_name(error)} is no Exception")
    elif not policy.retry(state):
        return RetryDecision(None, f"the policy's retry leaves {type_name(error)} alone")
    wait = _backoff(retry_count) if policy.wait is None else policy.wait(state)
    decision = _checked(wait, policy, rng)
    if policy.stop is not None and decision.delay is not None:
        state.upcoming_sleep = decision.delay
        if policy.stop(state):
            return RetryDecision(None, "the policy's stop says stop")
    return decision


def describe(policy: RetryPolicy, *, max_retries: int | None = None, count: int = 5) -> list[str]:
    """Return a preview like ``["retry 1 after 2 s", …]`` of at most ``count`` retries.

    Exceptions are taken to be ones that are retried, attempts to take no time.
    """
    unasked = replace(policy, retry=None, dont_retry=())
    limit = count if max_retries is None and policy.stop is None else max_retries
    lines: list[str] = []
    seconds, rng, error = 0.0, random.Random(0), Exception("preview")
    for used in range(count):
        decision = decide_retry(
            unasked,
            retry_count=used,
            max_retries=limit,
            exception=error,
            attempt=used + 1,
            seconds_since_first_start=seconds,
            rng=rng,
        )
        if decision.delay is None:
            return [*lines, f"no retry {used + 1}: {decision.reason}"]
        lines.append(f"retry {used + 1} after {decision.delay:.4g} s")
        seconds += decision.delay
    return lines
