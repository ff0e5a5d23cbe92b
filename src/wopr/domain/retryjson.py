"""A retry policy as JSON text: tenacity's own classes by name, nothing else."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tenacity
from pydantic_core import from_json, to_json

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import safe_text, type_name

_ON_THE_TASK = (
    "Put such a policy on the task itself, where it needs not be stored: @queue.task(retry=…)."
)


@dataclass(frozen=True, slots=True)
class _Form:
    """How one class is written: constructor argument -> attribute, or the starred one."""

    make: Callable[..., Any]
    fields: dict[str, str] = field(default_factory=dict)
    items: str | None = None


def _forms() -> dict[str, _Form]:
    t = tenacity
    curve = {"multiplier": "multiplier", "max": "max", "exp_base": "exp_base", "min": "min"}
    types = {"exception_types": "exception_types"}
    message = {"message": "message", "match": "match"}
    delay = {"max_delay": "max_delay"}
    return {
        "wait_none": _Form(t.wait_none),
        "wait_fixed": _Form(t.wait_fixed, {"wait": "wait_fixed"}),
        "wait_random": _Form(t.wait_random, {"min": "wait_random_min", "max": "wait_random_max"}),
        "wait_incrementing": _Form(
            t.wait_incrementing, {"start": "start", "increment": "increment", "max": "max"}
        ),
        "wait_exponential": _Form(t.wait_exponential, curve),
        "wait_random_exponential": _Form(t.wait_random_exponential, curve),
        "wait_exponential_jitter": _Form(t.wait_exponential_jitter, {**curve, "jitter": "jitter"}),
        "wait_combine": _Form(t.wait_combine, items="wait_funcs"),
        "wait_chain": _Form(t.wait_chain, items="strategies"),
        "stop_never": _Form(type(t.stop_never)),
        "stop_after_attempt": _Form(
            t.stop_after_attempt, {"max_attempt_number": "max_attempt_number"}
        ),
        "stop_after_delay": _Form(t.stop_after_delay, delay),
        "stop_before_delay": _Form(t.stop_before_delay, delay),
        "stop_any": _Form(t.stop_any, items="stops"),
        "stop_all": _Form(t.stop_all, items="stops"),
        "retry_always": _Form(type(t.retry_always)),
        "retry_never": _Form(type(t.retry_never)),
        "retry_if_exception_type": _Form(t.retry_if_exception_type, types),
        "retry_if_not_exception_type": _Form(t.retry_if_not_exception_type, types),
        "retry_unless_exception_type": _Form(t.retry_unless_exception_type, types),
        "retry_if_exception_cause_type": _Form(
            t.retry_if_exception_cause_type, {"exception_types": "exception_cause_types"}
        ),
        "retry_if_exception_message": _Form(t.retry_if_exception_message, message),
        "retry_if_not_exception_message": _Form(t.retry_if_not_exception_message, message),
        "retry_any": _Form(t.retry_any, items="retries"),
        "retry_all": _Form(t.retry_all, items="retries"),
    }


_FORMS = _forms()
_NAMES = {form.make: name for name, form in _FORMS.items()}
_EXCEPTIONS: dict[str, type[BaseException]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


def parts_to_json(
    parts: Mapping[str, object], dont_retry: tuple[type[BaseException], ...], jitter: float
) -> str:
    """Return a policy as JSON text.

    Args:
        parts: The tenacity object, or None, of each of wait, stop and retry.
        dont_retry: Exception types.
        jitter: Seconds.

    Raises:
        InvalidCallError: A part has no JSON form.
    """
    try:
        data: dict[str, object] = {
            name: _write(part) for name, part in parts.items() if part is not None
        }
        if dont_retry:
            data["dont_retry"] = [_exception_name(kind) for kind in dont_retry]
        if jitter:
            data["jitter"] = jitter
        return to_json(data, inf_nan_mode="strings").decode()
    except InvalidCallError:
        raise
    except Exception as error:
        raise _not_storable(f"a part ({safe_text(error)})") from error


def _write(part: object) -> dict[str, object]:
    name = _NAMES.get(type(part))
    if name is None:
        raise _not_storable(type_name(part))
    form = _FORMS[name]
    data: dict[str, object] = {"type": name}
    for argument, attribute in form.fields.items():
        value = _write_value(name, getattr(part, attribute))
        if value is not None:
            data[argument] = value
    if form.items is not None:
        data["items"] = [_write(item) for item in getattr(part, form.items)]
    return data


def _write_value(name: str, value: object) -> object:
    if value is None or type(value) in (int, float, str):
        return value
    if isinstance(value, re.Pattern):
        if type(value.pattern) is str and re.compile(value.pattern).flags == value.flags:
            return value.pattern
        raise _not_storable(f"{name} with a pattern that has flags (write them inside: '(?i)…')")
    if isinstance(value, type):
        return [_exception_name(value)]
    if isinstance(value, tuple):
        return [_exception_name(kind) for kind in value]
    raise _not_storable(f"{name} with a {type_name(value)}")


def _exception_name(kind: type) -> str:
    name = kind.__name__
    if _EXCEPTIONS.get(name) is not kind:
        raise _not_storable(f"the exception type {kind.__module__}.{kind.__qualname__}")
    return name


def _not_storable(what: str) -> InvalidCallError:
    return InvalidCallError(
        f"This retry policy can't be stored with a task: {what} has no JSON form (only tenacity's "
        f"own classes, numbers, texts and builtin exception types have). {_ON_THE_TASK}"
    )


def parts_from_json(text: str) -> dict[str, Any]:
    """Return the fields of a policy from a text of :func:`parts_to_json`.

    Raises:
        Exception: Of any type, if the text is none.
    """
    data = from_json(text)
    unknown = data.keys() - {"wait", "stop", "retry", "dont_retry", "jitter"}
    if unknown:
        raise ValueError(f"unknown members {sorted(unknown)}")
    fields = {name: _read(data[name]) for name in ("wait", "stop", "retry") if name in data}
    fields["dont_retry"] = _read_types(data.get("dont_retry", []))
    fields["jitter"] = data.get("jitter", 0.0)
    return fields


def _read(data: dict[str, Any]) -> Any:
    rest = dict(data)
    form = _FORMS[rest.pop("type")]
    items = [_read(item) for item in rest.pop("items", ())] if form.items is not None else []
    if rest.keys() - form.fields.keys():
        raise ValueError(f"unknown members {sorted(rest.keys() - form.fields.keys())}")
    return form.make(*items, **{name: _read_value(name, value) for name, value in rest.items()})


def _read_value(name: str, value: object) -> object:
    if name == "exception_types":
        return _read_types(value)
    if name in ("message", "match"):
        if type(value) is not str:
            raise ValueError(f"{name} must be a text")
        return value
    if type(value) in (int, float):
        return value
    if value in ("Infinity", "-Infinity", "NaN"):  # what JSON has no number for
        return float(str(value))
    raise ValueError(f"{name} must be a number")


def _read_types(names: object) -> tuple[type[BaseException], ...]:
    if type(names) is not list:
        raise ValueError("exception types must be a list of names")
    return tuple(_EXCEPTIONS[name] for name in names)
