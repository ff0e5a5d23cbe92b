"""Arguments and results survive the trip through JSON text, or are refused in words."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict, TypeVar, Unpack
from unittest.mock import AsyncMock, Mock
from uuid import UUID
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from wopr.domain.callables import is_async_callable, signature_text
from wopr.domain.codec import CallCodec, PayloadLimits, clip, decode_plain, encode_plain
from wopr.domain.errors import InvalidCallError, PayloadError, PayloadTooLargeError

# -- what the functions take ---------------------------------------------------


class Color(Enum):
    RED = "red"
    BLUE = 2


class Shade(str, Enum):
    DARK = "dark"


class Level(IntEnum):
    HIGH = 3


class Odd(Enum):
    PAIR = (1, 2)


class Point(NamedTuple):
    x: int
    y: float


@dataclass
class Address:
    street: str
    since: date
    blob: bytes = b""
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loose:
    anything: Any


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


class User(BaseModel):
    name: str
    born: datetime | None = None
    scores: dict[int, Decimal] = {}


class Admin(User):
    rights: set[str] = set()


class Keyed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    kind: str = Field(alias="$type")
    value: int


class Secret(BaseModel):
    password: SecretStr


class Options(TypedDict, total=False):
    size: int
    when: datetime


class Plain:
    """A class that nothing knows how to encode."""


T = TypeVar("T")
WHEN = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")


def codec(function: Callable[..., object], **limits: int) -> CallCodec:
    return CallCodec(function, "job", PayloadLimits(**limits))


def trip(function: Callable[..., object], *args: object, **kwargs: object) -> Any:
    """Send a call through the text and return what the function would get."""
    one, other = codec(function), codec(function)  # nothing is remembered between the two
    texts = one.encode_call(args, kwargs)
    for text in texts:
        json.loads(text)
    found = other.decode_call(*texts)
    # The first call of a codec is always thorough, later ones may be quick.
    assert texts == one.encode_call(args, kwargs)
    assert same(found, other.decode_call(*texts))
    return found


def numbered(rows: list[Any]) -> list[str]:
    """Name cases by number and type: their own texts may be long, equal, or raise."""
    return [f"{index}-{type(row).__name__}" for index, row in enumerate(rows)]


def same(one: object, two: object) -> bool:
    # pydantic has a class of its own for the offset zero, which equals UTC.
    texts = [repr(value).replace("TzInfo(0)", "datetime.timezone.utc") for value in (one, two)]
    return texts[0] == texts[1] and type(one) is type(two)


def annotated(hint: object, name: str = "value") -> Callable[..., object]:
    def function(value: object) -> object:
        return value

    function.__annotations__ = {name: hint, "return": hint}
    return function


def refuses(function: Callable[..., object], *args: object, **kwargs: object) -> str:
    one = codec(function)
    with pytest.raises(PayloadError) as caught:
        one.encode_call(args, kwargs)
    with pytest.raises(PayloadError) as again:  # the quick way must not let it through
        one.encode_call(args, kwargs)
    assert str(caught.value) == str(again.value)
    return str(caught.value)


# -- values survive ------------------------------------------------------------

TYPED = [
    (int, 7),
    (int, 10**30),
    (int, -(2**63)),
    (str, "ünï \0 \u2028 ; drop table tasks --"),
    (str, '{"$type": "datetime", "value": 1}'),
    (str, "$type"),
    (float, 1.0),
    (float, float("nan")),
    (float, float("-inf")),
    (bool, True),
    (None, None),
    (bytes, b"\xff\x00\xfe"),
    (datetime, WHEN),
    (datetime, datetime(1, 1, 1)),
    (datetime, datetime.max),
    (date, date(2030, 2, 28)),
    (time, time(23, 59, 59, 999_999)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (timedelta, timedelta.max),
    (UUID, ID),
    (Decimal, Decimal("1.10")),
    (Decimal, Decimal("1E+400")),
    (Decimal, Decimal("-0.00")),
    (Color, Color.RED),
    (Color, Color.BLUE),
    (Shade, Shade.DARK),
    (Level, Level.HIGH),
    (Path, Path("/tmp/x")),
    (Literal["a", 1], 1),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "a")),
    (set[int], {1}),
    (frozenset[date], frozenset({date(2030, 1, 1)})),
    (list[tuple[int, bytes]], [(1, b"\xff")]),
    (dict[int, str], {1: "a", -2: "b"}),
    (dict[UUID, Decimal], {ID: Decimal("2.50")}),
    (dict[tuple[int, int], int], {(1, 2): 3}),
    (dict[date, list[int]], {date(2030, 1, 1): [1]}),
    (dict[str, dict[int, set[str]]], {"a": {1: {"x"}}}),
    (Point, Point(1, 2.5)),
    (Address, Address("Way 1", date(2030, 1, 1), b"\xff", ["x"])),
    (list[Address], [Address("Way 1", date(2030, 1, 1))]),
    (Tree, Tree(1, [Tree(2), Tree(3, [Tree(4)])])),
    (User, User(name="Ann", born=WHEN, scores={1: Decimal("1.0")})),
    (Admin, Admin(name="Ann", rights={"all"})),
    (dict[str, User], {"a": User(name="Bob")}),
    (Options, {"size": 1, "when": WHEN}),
    (int | None, None),
    (int | None, 3),
    (datetime | None, WHEN),
    (User | None, None),
    (int | str, "7"),
    (int | float, 2.0),
    (int | float, 2),
    (bool | int, 1),
    (Annotated[int, Field(gt=0)], 5),
    # Unions and loose containers, whose JSON alone doesn't say what it was.
    (datetime | str, WHEN),
    (datetime | str, "2030-01-02T03:04:05Z"),
    (str | bytes, b"abc"),
    (str | float, float("nan")),
    (str | float, "NaN"),
    (UUID | str, ID),
    (UUID | str, str(ID)),
    (Decimal | float, Decimal("0.5")),
    (tuple[int, ...] | list[int], (1, 2)),
    (tuple[int, ...] | list[int], [1, 2]),
    (Color | str, Color.RED),
    (Color | str, "red"),
    (Shade | str, Shade.DARK),
    (User | Admin, Admin(name="Ann")),
    (User | dict[str, str], {"name": "Ann"}),
    (Address | Tree, Tree(1)),
    (list[Any], [WHEN, (1, 2), {3: b"\xff"}]),
    (list, [1, {"a": (1,)}]),
    (dict, {1: "a", (1, 2): {ID}}),
    (dict[str, Any], {"when": WHEN, "plain": [1, None, "x"]}),
    (tuple, (1, (2, [3]))),
    (Any, {"$type": "datetime", "value": "2030-01-01"}),
    (dict[str, str], {"$type": "date", "value": "2030-01-01"}),
    (list[dict[str, str]], [{"$type": "any", "value": "x"}]),
    (list[Any], [{"$type": "date", "value": "2030-01-01"}]),
    (dict[str, Any], {"a": {"$type": "set", "value": [1]}}),
    (Keyed, Keyed(kind="date", value=1)),
    (Loose, Loose([1, "x", None])),
]


@pytest.mark.parametrize(("hint", "value"), TYPED, ids=numbered(TYPED))
def test_an_annotated_argument_comes_back_as_it_was(hint: Any, value: object) -> None:
    assert same(((value,), {}), trip(annotated(hint), value))


@pytest.mark.parametrize(("hint", "value"), TYPED, ids=numbered(TYPED))
def test_an_annotated_result_comes_back_as_it_was(hint: Any, value: object) -> None:
    one = codec(annotated(hint))
    text = one.encode_result(value)
    assert text == one.encode_result(value)
    assert same(value, codec(annotated(hint)).decode_result(text))


BUILTIN = [
    None,
    True,
    7,
    -1.5,
    float("inf"),
    float("nan"),
    10**30,
    "text \0",
    WHEN,
    datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2, seconds=3))),
    date(2030, 1, 1),
    time(1, 2, tzinfo=UTC),
    timedelta(days=3, microseconds=7),
    ID,
    Decimal("NaN"),
    Decimal("1.10"),
    b"\xff\x00",
    (1, (2,)),
    {1, 2},
    frozenset({"a"}),
    [],
    {},
    {"a": [1, {"b": ()}]},
    {1: 2, "1": 3, None: 4, (5, 6): {7: 8}},
    {"$type": "tuple", "value": [1]},
    {"$type": "no such type"},
    {"$type": WHEN},
]


@pytest.mark.parametrize("value", BUILTIN, ids=numbered(BUILTIN))
def test_an_unannotated_argument_keeps_its_builtin_type(value: object) -> None:
    def job(first, *more, **others):  # type: ignore[no-untyped-def]
        pass

    expected = ((value, value), {"key": value})
    assert same(expected, trip(job, value, value, key=value))


@pytest.mark.parametrize("value", BUILTIN, ids=numbered(BUILTIN))
def test_a_plain_text_keeps_the_builtin_type(value: object) -> None:
    text = encode_plain(value, "it", 10_000, 64)
    assert same(value, decode_plain(text))


def unfolded(value: Any) -> Any:
    """Drop the flag for the second of two equal times, which ISO 8601 has no place for."""
    return value.replace(fold=0)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes().map(unfolded)
    | st.dates()
    | st.times().map(unfolded)
    | st.timedeltas()
    | st.uuids()
    | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.just("$type"), inner, max_size=3)
        | st.frozensets(st.text() | st.integers(), max_size=1)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(json_like)
def test_any_builtin_value_survives_every_way(value: object) -> None:
    def job(plain, loose: Any, listed: list[Any]):  # type: ignore[no-untyped-def]
        pass

    assert same(((value, value, [value]), {}), trip(job, value, value, [value]))


@settings(max_examples=100, deadline=None)
@given(st.text(), st.integers(), st.floats())
def test_any_scalars_survive_and_duckdb_reads_them(text: str, number: int, real: float) -> None:
    def job(text: str, number: int, real: float) -> None: ...

    args, _ = codec(job).encode_call((text, number, real), {})
    assert same((text, number, real), codec(job).decode_call(args, "{}")[0])
    with duckdb.connect() as con:
        row = con.execute("select (?::json)->>'$[0]', json_valid(?)", [args, args]).fetchone()
    assert (text, True) == row


def test_json_stays_plain_where_it_can() -> None:
    def job(a, b: Any, c: dict[str, Any], d: datetime | str) -> Any: ...  # type: ignore[no-untyped-def]

    value = {"list": [1, 2.5, None, True], "text": "x"}
    args, kwargs = codec(job).encode_call((value, value, value), {"d": "today"})
    assert [value, value, value] == json.loads(args)
    assert {"d": "today"} == json.loads(kwargs)
    assert value == json.loads(codec(job).encode_result(value))


def test_the_tagged_form_is_readable_from_sql() -> None:
    text = encode_plain([WHEN, (1,), b"hi", timedelta(hours=1)], "it", 1_000, 64)
    assert [
        {"$type": "datetime", "value": "2030-01-02T03:04:05.000678+00:00"},
        {"$type": "tuple", "value": [1]},
        {"$type": "bytes", "value": "aGk="},
        {"$type": "timedelta", "value": "PT1H"},
    ] == json.loads(text)


def test_an_aware_time_keeps_its_instant_in_any_zone() -> None:
    local = datetime(2030, 7, 1, 12, tzinfo=ZoneInfo("UTC"))
    assert local == trip(annotated(datetime), local)[0][0]
    assert local == trip(annotated(Any), local)[0][0]


# -- calls fit the signature -----------------------------------------------------


def test_no_default_is_stored_with_a_call() -> None:
    def job(a: int, b: object = Plain(), *, c: int = 3) -> None: ...

    assert ("[1]", "{}") == codec(job).encode_call((1,), {})


def test_every_kind_of_parameter_is_bound() -> None:
    def job(a: int, /, b: date, *rest: UUID, key: Decimal, **others: timedelta) -> None: ...

    args = (1, date(2030, 1, 1), ID, ID)
    kwargs = {"key": Decimal("1.0"), "a": timedelta(1), "z": timedelta(2)}
    assert (args, kwargs) == trip(job, *args, **kwargs)


WRONG_CALLS: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((), {}, "missing a required argument: 'a'"),
    ((1,), {}, "missing a required argument: 'b'"),
    ((1, 2, 3, 4), {"c": 1}, "too many positional arguments"),
    ((1, 2), {"b": 2, "c": 1}, "multiple values for argument 'b'"),
    ((1, 2), {}, "missing a required (keyword-only )?argument: 'c'"),
    ((1, 2), {"c": 1, "z": 1}, "unexpected keyword argument 'z'"),
    ((), {"a": 1, "b": 2, "c": 3}, "'a'"),
    ((1, 2), {"c": 1, 5: 1}, "keywords must be"),
]


@pytest.mark.parametrize(("args", "kwargs", "text"), WRONG_CALLS, ids=numbered(WRONG_CALLS))
def test_a_wrong_call_is_refused_with_the_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    def job(a: int, /, b: int, d: int = 0, *, c: int) -> None: ...

    with pytest.raises(InvalidCallError, match=text) as caught:
        codec(job).encode_call(args, kwargs)
    assert "job(a: int, /, b: int, d: int = 0, *, c: int) -> None" in str(caught.value)


def test_what_the_quick_check_accepts_python_accepts_too() -> None:
    def one(a, /, b, c=1, *more, d, e=2, **others):  # type: ignore[no-untyped-def]
        pass

    def two(a, b=1, /, *, c=2):  # type: ignore[no-untyped-def]
        pass

    def three(a, b):  # type: ignore[no-untyped-def]
        pass

    for function in (one, two, three):
        for count in range(6):
            for names in ("", "a", "b", "ab", "d", "bd", "c", "cd", "bcde", "x", "dx", "ad"):
                args, kwargs = (1,) * count, dict.fromkeys(names, 1)
                assert _accepts(function, args, kwargs) == _encodes(function, args, kwargs)


def _accepts(function: Any, args: tuple[int, ...], kwargs: dict[str, int]) -> bool:
    try:
        function(*args, **kwargs)
    except TypeError:
        return False
    return True


def _encodes(function: Any, args: tuple[int, ...], kwargs: dict[str, int]) -> bool:
    try:
        texts = codec(function).encode_call(args, kwargs)
    except InvalidCallError:
        return False
    return codec(function).decode_call(*texts) == (args, kwargs)


@pytest.mark.parametrize("args", ["abc", 5, None, {"a": 1}, iter([1])], ids=range(5))
def test_args_that_are_no_tuple_are_refused(args: Any) -> None:
    with pytest.raises(InvalidCallError, match="args must be a tuple and kwargs a dict"):
        codec(lambda *args: None).encode_call(args, {})


def test_kwargs_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(InvalidCallError, match="args must be a tuple and kwargs a dict"):
        codec(lambda *args: None).encode_call((), [("a", 1)])  # type: ignore[arg-type]


def test_partials_methods_and_callable_objects_are_bound_as_they_are_called() -> None:
    class Service:
        def method(self, when: date) -> None: ...

        def __call__(self, number: Decimal) -> None: ...

        @classmethod
        def create(cls, when: date) -> None: ...

        @staticmethod
        def tool(when: date) -> None: ...

    def job(first: int, when: date, *, key: str) -> None: ...

    day = date(2030, 1, 1)
    assert ((day,), {}) == trip(Service().method, day)
    assert ((day,), {}) == trip(Service.create, day)
    assert ((day,), {}) == trip(Service.tool, day)
    assert ((Decimal("1.0"),), {}) == trip(Service(), Decimal("1.0"))
    assert ((day,), {"key": "b"}) == trip(functools.partial(job, 1, key="a"), day, key="b")
    assert ((day,), {}) == trip(functools.partial(Service().method), day)
    assert ((1, 2), {}) == trip(max, 1, 2)
    assert ((1,), {"a": (2,)}) == trip(Mock(), 1, a=(2,))


def test_a_wrapped_function_keeps_its_own_annotations() -> None:
    def job(when: date) -> None: ...

    @functools.wraps(job)
    def wrapper(*args: object, **kwargs: object) -> object:
        return job(*args, **kwargs)  # type: ignore[arg-type, func-returns-value]

    assert ((date(2030, 1, 1),), {}) == trip(wrapper, date(2030, 1, 1))


def test_a_class_defined_after_the_registration_is_found() -> None:
    def job(value: LaterModel) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    one = codec(job)
    globals()["LaterModel"] = User
    try:
        texts = one.encode_call((User(name="Ann"),), {})
        assert ((User(name="Ann"),), {}) == one.decode_call(*texts)
    finally:
        del globals()["LaterModel"]


def test_a_class_of_the_enclosing_function_is_found() -> None:
    @dataclass
    class Local:
        when: date

    def job(value: Local) -> Local:
        return Local(value.when)

    value = Local(date(2030, 1, 1))
    assert ((value,), {}) == trip(job, value)
    assert value == codec(job).decode_result(codec(job).encode_result(value))


def test_annotations_that_mean_nothing_here_count_as_any() -> None:
    def job(a: NoSuchName, b: Plain, c: T, d: 5 = 0) -> NoSuchName: ...  # type: ignore[name-defined,valid-type]  # noqa: F821

    assert ((1, (2,), WHEN), {"d": "x"}) == trip(job, 1, (2,), WHEN, d="x")
    assert (1,) == codec(job).decode_result(codec(job).encode_result((1,)))


def test_keywords_may_be_described_by_a_typed_dict() -> None:
    class Needed(TypedDict):
        when: date
        size: int

    def job(**kwargs: Unpack[Needed]) -> None: ...

    job.__annotations__["kwargs"] = Unpack[Needed]
    assert ((), {"when": date(2030, 1, 1), "size": 1}) == trip(job, when=date(2030, 1, 1), size=1)
    with pytest.raises(InvalidCallError, match="'size'"):
        codec(job).encode_call((), {"when": date(2030, 1, 1)})
    with pytest.raises(InvalidCallError, match="'other'"):
        codec(job).encode_call((), {"when": date(2030, 1, 1), "size": 1, "other": 2})


# -- wrong values are refused ----------------------------------------------------

MISFITS: list[tuple[Any, object]] = [
    (int, "7"),
    (int, 7.0),
    (int, True),
    (str, 7),
    (str, b"x"),
    (float, "1.5"),
    (bool, 1),
    (bytes, "x"),
    (date, WHEN),
    (datetime, "2030-01-01"),
    (UUID, str(ID)),
    (Color, "red"),
    (list[int], [1, "x"]),
    (tuple[int, int], (1,)),
    (tuple[int, ...], [1]),
    (dict[str, int], {"a": "b"}),
    (User, {"nom": "Ann"}),
    (User, Address("x", date(2030, 1, 1))),
    (Annotated[int, Field(gt=0)], 0),
    (Literal["a"], "b"),
    (int | None, "x"),
]


@pytest.mark.parametrize(("hint", "value"), MISFITS, ids=numbered(MISFITS))
def test_a_value_of_another_type_is_refused_at_the_caller(hint: Any, value: object) -> None:
    text = refuses(annotated(hint), value)
    assert "Argument 'value' of task 'job' must be " in text
    assert f"not {type(value).__name__}" in text
    assert "The signature is job(value: " in text


UNSTORABLE: list[tuple[Any, object, str]] = [
    (Any, Color.RED, "Annotate it \\(value: Color\\)"),
    (Any, Level.HIGH, "Annotate it \\(value: Level\\)"),
    (Any, Shade.DARK, "Annotate it \\(value: Shade\\)"),
    (Any, User(name="Ann"), "Annotate it \\(value: User\\)"),
    (Any, Address("x", date(2030, 1, 1)), "Annotate it \\(value: Address\\)"),
    (Any, Plain(), "Plain has no JSON form"),
    (Any, [{"a": (Plain(),)}], "at argument\\[0\\]\\['a'\\]\\[0\\] Plain has no JSON form"),
    (Any, lambda: None, "function has no JSON form"),
    (Any, object, "type has no JSON form"),
    (Any, Point(1, 2.0), "Point has no JSON form"),
    (Any, OrderedDict(), "OrderedDict has no JSON form"),
    (Any, defaultdict(int), "defaultdict has no JSON form"),
    (Any, iter([]), "no JSON form"),
    (Any, range(3), "range has no JSON form"),
    (Any, bytearray(b"x"), "bytearray has no JSON form"),
    (Any, 1j, "complex has no JSON form"),
    (Any, ValueError("x"), "ValueError has no JSON form"),
    (Any, "\ud800", "lone surrogate"),
    (Any, ["a", {"\udfff": 1}], "lone surrogate"),
    (str, "a\ud800", "lone surrogate"),
    (list[str], ["\ud800"], "lone surrogate"),
    (User, User.model_construct(name="\ud800"), "surrogate"),
    (User, User.model_construct(name=5), "Expected `str`"),
    (Address, Address("x", "yesterday"), "Expected `date`"),  # type: ignore[arg-type]
    (int, 10**5_000, "more than 4,300 digits"),
    (Any, [10**5_000], "more than 4,300 digits"),
    (dict[str, int], {"a": 10**5_000}, "more than 4,300 digits"),
    (Any, [[[]] * 3, Plain], "no JSON form"),
    (User, Admin(name="Ann", rights={"all"}), "read back it would be User"),
    (Secret, Secret(password=SecretStr("x")), "read back it would be another Secret"),
    (Loose, Loose(WHEN), "read back it would be another Loose"),
    (Loose, Loose((1, 2)), "read back it would be another Loose"),
    (list[Any], [Color.RED], "read back it would be another list"),
    (dict[str, object], {"a": User(name="Ann")}, "read back it would be another dict"),
    (dict[tuple[int, int], Color], {(1, 2): Color.RED}, "read back it would be none at all"),
    (dict[tuple[int, int], Path], {(1, 2): Path("x")}, "read back it would be none at all"),
    (set[Shade | str], {Shade.DARK}, "read back it would be another set"),
    (dict[Odd, Color], {Odd.PAIR: Color.RED}, "read back"),
    (Callable[[], None], print, "can't be stored as JSON"),
]


@pytest.mark.parametrize(("hint", "value", "pattern"), UNSTORABLE, ids=numbered(UNSTORABLE))
def test_what_json_can_not_hold_is_refused_with_the_reason(
    hint: Any, value: object, pattern: str
) -> None:
    text = refuses(annotated(hint), value)
    assert re.search(pattern, text)
    assert "Argument 'value' of task 'job'" in text
    assert "The signature is job(value" in text


def test_the_place_among_the_star_arguments_is_named() -> None:
    def job(a: int, *numbers: int) -> None: ...

    assert "Argument '*numbers[1]' of task 'job' must be int, not str" in refuses(job, 1, 2, "x")


def self_containing() -> list[tuple[str, object]]:
    looped: list[Any] = []
    looped.append(looped)
    doubled: list[Any] = []
    doubled += [doubled, doubled]
    mapped: dict[str, Any] = {}
    mapped["me"] = mapped
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    bottomless: list[Any] = []
    for _ in range(100_000):
        bottomless = [bottomless]
    return [
        ("itself", looped),
        ("itself twice", doubled),
        ("dict", mapped),
        ("deep", deep),
        ("bottomless", bottomless),
    ]


ENDLESS = self_containing()


@pytest.mark.parametrize("hint", [Any, list[Any], list | dict], ids=str)
@pytest.mark.parametrize(("name", "value"), ENDLESS, ids=[name for name, _ in ENDLESS])
def test_a_value_without_an_end_is_refused(hint: Any, name: str, value: object) -> None:
    if hint == list[Any] and name == "dict":
        value = [value]
    assert "nested" in refuses(annotated(hint), value)
    with pytest.raises(PayloadError, match="nested"):
        codec(annotated(hint)).encode_result(value)
    with pytest.raises(PayloadError, match="nested"):
        encode_plain(value, "it", 1_000, 64)


def test_a_model_that_contains_itself_is_refused() -> None:
    tree = Tree(1)
    tree.children.append(tree)
    assert "contains itself" in refuses(annotated(Tree), tree)


@pytest.mark.parametrize("hint", [Any, list[Any]], ids=str)
def test_a_small_value_shared_a_billion_times_is_too_large(hint: Any) -> None:
    value: list[Any] = ["x"]
    for _ in range(40):
        value = [value, value]
    for shared in (value, ["x" * 200_000] * 200_000, [b"x" * 200_000] * 200_000):
        _assert_too_large(hint, shared)


def _assert_too_large(hint: Any, value: object) -> None:
    with pytest.raises(PayloadTooLargeError):
        codec(annotated(hint)).encode_call((value,), {})
    with pytest.raises(PayloadTooLargeError):
        codec(annotated(hint)).encode_result(value)


@pytest.mark.parametrize("value", [{1: 2}, [[[1]]], [{"a": [1]}], (1, [2]), {(1,): 2}], ids=str)
def test_the_depth_limit_counts_levels_of_json(value: Any) -> None:
    text = encode_plain(value, "it", 1_000, 64)
    depth = level = 0
    for letter in text:
        level += (letter in "[{") - (letter in "]}")
        depth = max(depth, level)
    assert text == encode_plain(value, "it", 1_000, depth)
    with pytest.raises(PayloadError, match=f"deeper than {depth - 1} levels"):
        encode_plain(value, "it", 1_000, depth - 1)


class Evil:
    """An object of which every method raises."""

    def _fail(self, *args: object) -> Any:
        raise RuntimeError("evil")

    __repr__ = __str__ = __eq__ = __iter__ = __len__ = __bool__ = __getattr__ = _fail
    __hash__ = __float__ = __index__ = __int__ = __getitem__ = __fspath__ = _fail  # type: ignore[assignment]


class EvilList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("evil")

    def __len__(self) -> int:
        raise RuntimeError("evil")

    def __repr__(self) -> str:
        raise RuntimeError("evil")


class EvilText(str):
    __slots__ = ()

    def __repr__(self) -> str:
        raise RuntimeError("evil")

    def __len__(self) -> int:
        raise RuntimeError("evil")


class EvilMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("evil")

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("evil")


class EvilClass(metaclass=EvilMeta):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("evil")


HOSTILE = [Evil, EvilList, lambda: EvilList([1]), lambda: EvilText("x"), EvilClass]
HINTS: list[Any] = [Any, int, str, list, list[Any], dict[str, Any], datetime | str, User, Address]
HINTS += [Color, tuple[int, ...], set[int], bytes, Decimal, Path, int | list[str] | None, Loose]


@pytest.mark.parametrize("make", HOSTILE, ids=numbered(HOSTILE))
@pytest.mark.parametrize("hint", HINTS, ids=numbered(HINTS))
def test_hostile_objects_cause_no_other_error(make: Callable[[], object], hint: Any) -> None:
    one = codec(annotated(hint))
    for value in (make(), [make()], {"a": make()}, {"a": [make()]}):
        for attempt in (
            lambda value=value: one.decode_call(*one.encode_call((value,), {})),
            lambda value=value: one.decode_result(one.encode_result(value)),
            lambda value=value: encode_plain(value, "it", 1_000, 64),
        ):
            with contextlib.suppress(PayloadError):  # refused in words, or it survives
                attempt()


def test_a_default_value_whose_repr_raises_does_not_hide_the_error() -> None:
    def job(a: int, b: object = Evil()) -> None: ...

    assert "Argument 'a' of task 'job' must be int, not str" in refuses(job, "x")


def test_an_error_of_a_validator_is_told() -> None:
    class Picky(BaseModel):
        x: int

        @property
        def broken(self) -> int:
            raise RuntimeError("evil")

    assert "must be" in refuses(annotated(Picky), object())


# -- sizes -----------------------------------------------------------------------


def test_arguments_up_to_the_limit_pass_and_one_byte_more_does_not() -> None:
    for hint in (str, Any, list[str] | str):
        one = codec(annotated(hint), args=100)
        args, kwargs = one.encode_call(("x" * 94,), {})
        assert 100 == len(args + kwargs)
        with pytest.raises(PayloadTooLargeError, match=r"101 bytes|more than 100"):
            one.encode_call(("x" * 95,), {})


def test_too_large_arguments_name_the_largest_and_the_setting() -> None:
    def job(small: int, blob: bytes) -> None: ...

    with pytest.raises(PayloadTooLargeError) as caught:
        codec(job).encode_call((1,), {"blob": b"x" * 300_000})
    text = str(caught.value)
    assert "The arguments of task 'job' (most of it 'blob') would take 400,0" in text
    assert "the limit is 262,144" in text
    assert "WOPR_TASKS_MAX_ARGS_BYTES" in text


def test_as_many_arguments_as_fit_the_limit_make_one_call() -> None:
    def job(*days: date) -> None: ...

    args = (date(2030, 1, 1),) * 20_000
    assert (args, {}) == trip(job, *args)
    with pytest.raises(PayloadTooLargeError):
        codec(job).encode_call(args + args[:200], {})


def test_the_limit_counts_bytes_not_characters() -> None:
    with pytest.raises(PayloadTooLargeError):
        codec(annotated(str), args=100).encode_call(("ü" * 50,), {})


def test_a_too_large_result_names_its_setting() -> None:
    for hint in (str, Any, int):
        with pytest.raises(PayloadTooLargeError, match="WOPR_TASKS_MAX_RESULT_BYTES"):
            codec(annotated(hint), result=100).encode_result("x" * 100)


def test_a_too_large_plain_value_names_the_setting_it_is_told() -> None:
    with pytest.raises(PayloadTooLargeError, match=r"The note .* raise WOPR_X"):
        encode_plain("x" * 100, "The note", 100, 64, setting="WOPR_X")


# -- results ---------------------------------------------------------------------


def test_a_result_that_does_not_fit_its_annotation_keeps_its_value() -> None:
    for hint, value in (
        (int, "text"),
        (int, 1.5),
        (datetime, "2030-01-01"),
        (str, WHEN),
        (None, {"a": (1,)}),
        (User, {"nom": "Ann"}),
        (date, datetime(2030, 1, 1)),
        (list[int], (1, 2)),
        (Color, "red"),
        (bool, 1),
        (Decimal, Decimal("sNaN")),
        (NamedTuple, 3),
    ):
        one = codec(annotated(hint))
        assert same(value, one.decode_result(one.encode_result(value)))


def test_the_most_common_results_are_plain_json() -> None:
    one = codec(annotated(Any))
    assert ("null", "5", "true", '"x"') == tuple(map(one.encode_result, (None, 5, True, "x")))
    assert ("5", "1.5") == tuple(map(codec(annotated(int)).encode_result, (5, 1.5)))


def test_no_stored_result_is_none() -> None:
    assert None is codec(annotated(int)).decode_result(None)
    assert None is decode_plain(None)


def test_a_result_that_can_not_be_stored_says_how_to_annotate() -> None:
    def job():  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(PayloadError, match=r"result of task 'job' .*Annotate it \(-> User\)"):
        codec(job).encode_result(User(name="Ann"))


# -- reading what was stored -------------------------------------------------------


def test_a_call_stored_without_the_function_is_read_by_its_annotations() -> None:
    def anything(*args: object, **kwargs: object) -> None: ...

    def job(when: datetime, days: list[date], blob: bytes, *, pair: tuple[int, int]) -> None: ...

    args = (WHEN, [date(2030, 1, 1)], b"\xff")
    texts = codec(anything).encode_call(args, {"pair": (1, 2)})
    assert (args, {"pair": (1, 2)}) == codec(job).decode_call(*texts)


def test_plain_json_written_by_hand_is_read_by_the_annotations() -> None:
    def job(when: datetime, user: User, color: Color, pair: tuple[int, int]) -> None: ...

    values, _ = codec(job).decode_call(
        '["2030-01-02T03:04:05.000678Z", {"name": "Ann"}, "red", [1, 2]]', "{}"
    )
    assert (WHEN, User(name="Ann"), Color.RED, (1, 2)) == values


def test_stored_arguments_that_no_longer_fit_are_told_apart() -> None:
    def job(a: int, b: date) -> None: ...

    with pytest.raises(InvalidCallError, match="missing a required argument: 'b'"):
        codec(job).decode_call("[1]", "{}")
    with pytest.raises(PayloadError, match=r"Argument 'b' .* no longer fits.* must be date"):
        codec(job).decode_call('[1, "tomorrow"]', "{}")
    with pytest.raises(PayloadError, match="Has the function changed"):
        codec(job).decode_call('[{"$type": "datetime", "value": "x"}]', '{"b": 5}')


BROKEN = ["", "[", "{}", "null", '{"a": 1}', "[" * 300, "[1] x", '["\\ud800"]', "\0", "NaN"]


@pytest.mark.parametrize("text", BROKEN, ids=numbered(BROKEN))
def test_broken_stored_texts_give_a_payload_error(text: str) -> None:
    one = codec(annotated(int))
    with pytest.raises(PayloadError):
        one.decode_call(text, "{}")
    with pytest.raises((PayloadError, InvalidCallError)):
        one.decode_call("[1]", text if text != "{}" else "[]")


@pytest.mark.parametrize("text", ["", "[", "[" * 300, "[1] x", "\0"], ids=range(5))
def test_broken_stored_results_give_a_payload_error(text: str) -> None:
    with pytest.raises(PayloadError):
        codec(annotated(int)).decode_result(text)
    with pytest.raises(PayloadError):
        decode_plain(text)


FALSE_TAGS = [
    {"$type": "datetime", "value": "x"},
    {"$type": "set", "value": [[]]},
    {"$type": "dict", "value": [1]},
    {"$type": "Decimal", "value": "x"},
    {"$type": "bytes", "value": 5},
    {"$type": "member", "of": "X", "value": 1},
    {"$type": [], "value": 1},
    {"$type": "os.system", "value": "true"},
]


@pytest.mark.parametrize("value", FALSE_TAGS, ids=numbered(FALSE_TAGS))
def test_a_tag_that_is_none_of_ours_is_an_ordinary_dict(value: dict[str, Any]) -> None:
    assert value == decode_plain(json.dumps(value))
    assert value == codec(annotated(Any)).decode_result(json.dumps(value))


# -- texts of errors ---------------------------------------------------------------


def test_a_short_text_is_not_cut() -> None:
    assert "grün" == clip("grün", 100)
    assert "x" * 100 == clip("x" * 100, 100)


@pytest.mark.parametrize("limit", [0, 1, 5, 40, 70, 71, 100, 500])
@pytest.mark.parametrize("letter", ["x", "ü", "𝄞", "\ud800", "\0"], ids=ascii)
def test_a_cut_text_never_exceeds_its_limit(limit: int, letter: str) -> None:
    assert limit >= len(clip(letter * 600, limit).encode())


def test_a_cut_text_keeps_both_ends_and_says_how_much_is_gone() -> None:
    text = clip("start" + "x" * 10_000 + "end", 200)
    assert text.startswith("start")
    assert text.endswith("end")
    kept = text.replace("\n… [", "|").replace(" bytes cut] …\n", "|").split("|")
    assert 10_008 == len(kept[0]) + int(kept[1].replace(",", "")) + len(kept[2])


def test_what_a_database_refuses_in_a_text_becomes_visible() -> None:
    assert r"a\x00b\ud800c" == clip("a\0b\ud800c", 100)


# -- functions ---------------------------------------------------------------------


def test_functions_that_give_a_coroutine_are_told_apart() -> None:
    async def coroutine() -> None: ...

    class Async:
        async def __call__(self) -> None: ...

        async def method(self) -> None: ...

    class Sync:
        def __call__(self) -> None: ...

    yes = (
        coroutine,
        functools.partial(coroutine),
        functools.partial(functools.partial(coroutine)),
        Async(),
        functools.partial(Async()),
        Async().method,
        AsyncMock(),
    )
    no = (lambda: None, print, Sync(), Async, Sync().__call__, Mock(), functools.partial(print))
    assert [True] * len(yes) == list(map(is_async_callable, yes))
    assert [False] * len(no) == list(map(is_async_callable, no))


def test_a_signature_reads_as_it_was_written() -> None:
    def send(to: str, /, *, when: datetime | None = None, **more: list[int]) -> dict[str, int]: ...

    expected = "(to: str, /, *, when: datetime | None = None, **more: list[int]) -> dict[str, int]"
    assert "send" + expected == signature_text(send)
    assert "mail" + expected == signature_text(send, "mail")
    assert "max(*args, **kwargs)" == signature_text(max)
