"""Whether two values are the same, all the way down: equal, and of the same types."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Mapping
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from wopr.domain.zones import same_zone


def same(one: object, two: object) -> bool:
    """Tell whether two values are the same."""
    return difference(one, two) is None


def difference(one: Any, two: Any, at: str = "") -> str | None:
    """Return where two values differ, like ``.items[0].price``; ``None`` if they are the same.

    Models are the same if the same fields of theirs were set, too. Of private attributes that
    compare by identity, like locks, each model has its own.
    """
    if type(one) is not type(two):
        return None if type(one) is int and type(two) is float and one == two else at
    if is_model(one):
        return _difference_in_models(one, two, at)
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return _first(
            (getattr(one, name, None), getattr(two, name, None), f"{at}.{name}") for name in names
        )
    if isinstance(one, deque) and one.maxlen != two.maxlen:
        return f"{at}.maxlen"
    if isinstance(one, list | tuple | deque) and len(one) == len(two):
        pairs = enumerate(zip(one, two, strict=True))
        return _first((ours, theirs, f"{at}[{number}]") for number, (ours, theirs) in pairs)
    if type(one) in (dict, defaultdict, OrderedDict):
        return _difference_in_dicts(one, two, at)
    if isinstance(one, datetime | time):
        return _difference_in_time(one, two, at)
    return None if _same_leaf(one, two) else at


def is_model(value: object) -> bool:
    """Tell whether it is an instance of a model of pydantic's, which is no dataclass."""
    kind = type(value)
    return hasattr(kind, "__pydantic_validator__") and not dataclasses.is_dataclass(kind)


def fields_of(model: Any) -> dict[str, Any]:
    """Return the values of the fields of a model, and of the extra ones that it has."""
    own = vars(model)
    known = {name: own[name] for name in type(model).__pydantic_fields__ if name in own}
    return known | (model.__pydantic_extra__ or {})


def private_of(model: Any) -> dict[str, Any]:
    """Return the private attributes of a model."""
    return getattr(model, "__pydantic_private__", None) or {}


def same_private(one: object, two: object) -> bool:
    """Tell whether two private attributes are the same, as far as that can be known."""
    by_identity = type(one) is type(two) and type(one).__eq__ is object.__eq__
    return (by_identity and not vars_of(one)) or same(one, two)


def vars_of(value: object) -> dict[str, Any]:
    """Return the attributes of a plain object; none for one that has no place for them."""
    own = getattr(value, "__dict__", None)
    return own if type(own) is dict else {}


def _difference_in_models(one: Any, two: Any, at: str) -> str | None:
    ours, theirs = fields_of(one), fields_of(two)
    if ours.keys() != theirs.keys():
        return at
    found = _first((item, theirs[name], f"{at}.{name}") for name, item in ours.items())
    if found is not None:
        return found
    if one.model_fields_set != two.model_fields_set:
        return f"{at}.model_fields_set"
    ours, theirs = private_of(one), private_of(two)
    for name in [*ours, *theirs]:
        if not same_private(ours.get(name), theirs.get(name)):
            return f"{at}.{name}"
    return None


def _difference_in_time(one: Any, two: Any, at: str) -> str | None:
    if not same_zone(one.tzinfo, two.tzinfo):
        return f"{at}.tzinfo"
    if one.fold != two.fold:
        return f"{at}.fold"
    alike = one.replace(tzinfo=None) == two.replace(tzinfo=None) and one == two
    return None if alike and vars_of(one) == vars_of(two) else at


def _difference_in_dicts(one: Mapping[Any, Any], two: Mapping[Any, Any], at: str) -> str | None:
    if not _same_keys(one, two) or (isinstance(one, OrderedDict) and list(one) != list(two)):
        return at
    return _first((item, two[key], f"{at}[{key!r}]") for key, item in one.items())


def _first(pairs: Any) -> str | None:
    for one, two, at in pairs:
        found = difference(one, two, at)
        if found is not None:
            return found
    return None


def _same_leaf(one: Any, two: Any) -> bool:
    kind = type(one)
    if kind is float or kind is Decimal:
        return _same_number(one, two)
    if kind is set or kind is frozenset:
        return _same_keys(one, two)
    return bool(one == two)


def _same_number(one: Any, two: Any) -> bool:
    if type(one) is Decimal:
        return bool(one.compare_total(two) == 0)  # 1.0 is not 1.00, and NaN is NaN
    return bool(one == two) or (math.isnan(one) and math.isnan(two))


def _same_keys(one: Collection[object], two: Collection[object]) -> bool:
    """Compare with types, because 1, 1.0, True and an IntEnum are one and the same key."""
    if len(one) != len(two):
        return False
    others = {key: key for key in two}
    return all(key in others and same(key, others[key]) for key in one)
