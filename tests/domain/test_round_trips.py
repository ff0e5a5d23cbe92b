"""What is read back is what was given, to the last detail, or the call is refused."""

from __future__ import annotations

import dataclasses
import json
import zoneinfo
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from threading import Lock
from typing import Annotated, Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PrivateAttr,
    RootModel,
    computed_field,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from wopr.domain.codec import CallCodec
from wopr.domain.errors import InvalidCallError

# -- what is given ---------------------------------------------------------------


class Moment(datetime):
    """As pandas.Timestamp and pendulum.DateTime are."""


class Day(date): ...


class Hour(time): ...


class Span(timedelta): ...


class Slug(str): ...


class Cents(int): ...


class Ratio(float): ...


class Price(Decimal): ...


class Key(UUID): ...


class Blob(bytes): ...


class Level(IntEnum):
    HIGH = 3


class Aliased(BaseModel):
    value_: str = Field(alias="value")


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    first_name: str
    last_name: str = "?"


class ByName(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    first_name: str


class ByAlias(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, serialize_by_alias=True)
    first_name: str = ""
    last_name: str = ""


class Choices(BaseModel):
    size: int = Field(validation_alias=AliasChoices("Size", AliasPath("sizes", 0)))
    color: str = Field("red", serialization_alias="colour")


class Swapped(BaseModel):
    one: int = Field(alias="two")
    two: int = Field(alias="one")


class Area(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Patch(BaseModel):
    name: str | None = None
    size: int = 3
    at: datetime | None = None
    inner: Patch | None = None
    others: list[Patch] = []


class Made(BaseModel):
    """Has defaults that are other ones each time."""

    id: UUID = Field(default_factory=uuid4)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    size: int = 0


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    at: datetime
    size: int = 0


class Recent(BaseModel):
    numbers: deque[int]


class Hidden(BaseModel):
    name: str = ""
    _seen: int = PrivateAttr(0)
    _at: datetime | None = PrivateAttr(None)
    _id: UUID = PrivateAttr(default_factory=uuid4)
    _lock: Any = PrivateAttr(default_factory=Lock)


class Parsed(BaseModel):
    data: Json[dict[str, int]]
    any: Json[Any] = None


class Either(BaseModel):
    """Refuses JSON with all of its fields."""

    one: int | None = None
    two: int | None = None

    @model_validator(mode="after")
    def only_one(self) -> Either:
        if len(self.model_fields_set) > 1:
            raise ValueError("one of them")
        return self


class Tags(RootModel[list[datetime]]): ...


@dataclasses.dataclass
class Place:
    at: datetime
    patch: Patch


@pydantic_dataclass
class Checked:
    name: str = Field(alias="title")
    at: datetime | None = None


class Span2(NamedTuple):
    begin: datetime
    end: datetime


class Options(TypedDict, total=False):
    at: datetime
    patch: Patch


def put(model: Any, **private: Any) -> Any:
    for name, value in private.items():
        setattr(model, name, value)
    return model


# -- how it is compared ----------------------------------------------------------


def zone_of(zone: tzinfo | None) -> object:
    return (type(zone), zone.key) if isinstance(zone, ZoneInfo) else (zone, str(zone))


def picture(value: Any) -> Any:
    """Say all that there is to say about a value, without the help of what is tested."""
    kind = type(value)
    if isinstance(value, BaseModel):
        private = {
            name: item if type(item) is type(Lock()) else picture(item)
            for name, item in (value.__pydantic_private__ or {}).items()
        }
        private.pop("_lock", None)
        extra = value.__pydantic_extra__
        fields = {name: picture(getattr(value, name)) for name in type(value).model_fields}
        return kind, fields, value.model_fields_set, private, picture(extra)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return kind, [picture(getattr(value, name)) for name in names]
    if isinstance(value, datetime | time):
        return kind, value.replace(tzinfo=None), zone_of(value.tzinfo), value.fold
    if isinstance(value, dict):
        return kind, [(picture(key), picture(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return kind, [picture(item) for item in value], getattr(value, "maxlen", None)
    if isinstance(value, set | frozenset):
        return kind, sorted(map(repr, map(picture, value)))
    return kind, repr(value)


def annotated(hint: object) -> Callable[..., object]:
    def job(value: object) -> object:
        return value

    job.__annotations__ = {"value": hint, "return": hint}
    return job


def stored(hint: object, value: object) -> str:
    return CallCodec(annotated(hint), "job").encode_call((value,), {})[0]


def trip(hint: object, value: object) -> Any:
    [found], _ = CallCodec(annotated(hint), "job").decode_call(stored(hint, value), "{}")
    return found


def numbered(rows: list[Any]) -> list[str]:
    return [f"{at}-{getattr(row[0], '__name__', row[0])}" for at, row in enumerate(rows)]


# -- what must survive -----------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")
FIRST = datetime(2030, 10, 27, 2, 30, tzinfo=BERLIN)
SECOND = FIRST.replace(fold=1)
OFFSET = timezone(timedelta(hours=5, minutes=30))

KEPT: list[tuple[Any, Any]] = [
    (Aliased, Aliased(value="a")),
    (Camel, Camel(firstName="a")),
    (ByName, ByName(first_name="a")),
    (ByName, ByName(firstName="a")),
    (ByAlias, ByAlias(firstName="a")),
    (Choices, Choices(Size=1)),
    (list[Camel], [Camel(firstName="a")]),
    (Swapped, Swapped(one=1, two=2)),
    (Area, Area(side=2)),
    (Patch, Patch()),
    (Patch, Patch(size=3)),
    (Patch, Patch(inner=Patch(name=None), others=[Patch(), Patch(at=SECOND)])),
    (dict[str, Patch], {"a": Patch(size=1)}),
    (Patch | None, Patch(size=1)),
    (Made, Made()),
    (Loose, Loose(other="x", more=[1])),
    (Frozen, Frozen(at=FIRST)),
    (Hidden, Hidden()),
    (Hidden, put(Hidden(name="a"), _seen=4, _at=SECOND)),
    (Parsed, Parsed(data='{"a": 1}')),
    (Either, Either(two=2)),
    (Tags, Tags([FIRST])),
    (Place, Place(SECOND, Patch(size=4))),
    (Checked, Checked(title="a", at=FIRST)),
    (Span2, Span2(FIRST, SECOND)),
    (Options, {"at": FIRST, "patch": Patch(size=1)}),
    (datetime, FIRST),
    (datetime, SECOND),
    (datetime, datetime(2030, 1, 1, tzinfo=OFFSET)),
    (datetime, datetime(2030, 1, 1, tzinfo=UTC)),
    (datetime, datetime(2030, 1, 1, fold=1)),
    (datetime, datetime(1800, 1, 1, tzinfo=BERLIN)),  # an offset with seconds
    (datetime, datetime(2030, 1, 1, tzinfo=ZoneInfo("UTC"))),
    (time, time(1, 2, tzinfo=BERLIN)),
    (time, time(1, 2, tzinfo=OFFSET, fold=1)),
    (list[datetime | None], [FIRST, None, SECOND]),
    (dict[str, datetime], {"a": FIRST}),
    (dict[datetime, int], {FIRST: 1}),
    (set[datetime], {FIRST}),
    (tuple[datetime, ...], (FIRST, SECOND)),
    (deque[datetime], deque([FIRST])),
    (deque[datetime], deque([FIRST], maxlen=3)),
    (deque[int], deque([1, 2], maxlen=2)),
    (deque[int], deque(maxlen=0)),
    (deque[int] | None, deque([1], maxlen=3)),
    (dict[str, deque[int]], {"a": deque([1], maxlen=3), "b": deque([1])}),
    (Recent, Recent(numbers=deque([1], maxlen=2))),
    (Recent, Recent(numbers=deque([1]))),
    (OrderedDict[str, Decimal], OrderedDict(b=Decimal("1.00"), a=Decimal("1.0"))),
    (datetime | str, FIRST),
    (Any, [FIRST, time(1, tzinfo=BERLIN, fold=1)]),
    (list[Any], [{"at": SECOND}]),
    (Moment, Moment(2030, 1, 1, 12)),
    (Moment, Moment(2030, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)),
    (list[Moment], [Moment(2030, 1, 1)]),
    (Moment | None, Moment(2030, 1, 1)),
    (dict[str, Annotated[Day, "when"]], {"a": Day(2030, 1, 1)}),
    (Hour, Hour(1, 2)),
    (Span, Span(days=1, seconds=2)),
    (Slug, Slug("a")),
    (Cents, Cents(5)),
    (Ratio, Ratio(0.5)),
    (Price, Price("1.10")),
    (Key, Key(int=5)),
    (Blob, Blob(b"\xff")),
    (np.float64, np.float64(0.5)),
]


@pytest.mark.parametrize(("hint", "value"), KEPT, ids=numbered(KEPT))
def test_what_is_read_back_is_what_was_given(hint: Any, value: Any) -> None:
    before = picture(value)
    assert before == picture(trip(hint, value))
    assert before == picture(value)  # and nothing was done to what was given


def test_json_of_pydantic_is_parsed_as_pydantic_says() -> None:
    assert [1, 2] == trip(Json[list[int]], "[1, 2]")


def test_the_fields_of_a_model_stay_where_they_are() -> None:
    [found] = json.loads(stored(Patch, Patch(size=1, at=FIRST)))
    assert ("?", 1) == (found["name"] or "?", found["size"])
    assert {"set": ["at", "size"]} == found["$type"]
    zone = {"$type": "datetime", "value": "2030-10-27T02:30:00+02:00", "zone": "Europe/Berlin"}
    assert zone == found["at"]


def test_a_model_of_which_all_is_set_is_plain_json() -> None:
    full = Frozen(at=datetime(2030, 1, 1, tzinfo=UTC), size=1)
    assert [{"at": "2030-01-01T00:00:00Z", "size": 1}] == json.loads(stored(Frozen, full))


# -- what is refused, and how ------------------------------------------------------


class NoName(tzinfo):
    """As zones of other libraries are, which are no fixed offset and have no name."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def tzname(self, when: datetime | None) -> str:
        return "summer"

    def dst(self, when: datetime | None) -> None: ...


class Opaque(BaseModel):
    _open: Any = PrivateAttr(None)


REFUSED: list[tuple[Any, Any, str]] = [
    (datetime, Moment(2030, 1, 1), "read back it would be datetime. Annotate it with its exact"),
    (date, Day(2030, 1, 1), "read back it would be date. Annotate it with its exact type"),
    (timedelta, Span(1), "read back it would be timedelta"),
    (UUID, Key(int=1), "read back it would be UUID"),
    (list[bytes], [Blob(b"x")], r"another list \(another \[0\]\)"),
    (bool, np.bool_(True), r"must be bool, not numpy\.bool.*\.item\(\) gives the plain value"),
    (int, np.int64(1), r"must be int, not numpy\.int64"),
    (list[int], [np.int64(1)], r"at \[0\]: .*numpy\.int64 is a scalar.*\.item\(\)"),
    (Any, np.bool_(True), r"a numpy\.bool is a scalar of numpy's, its \.item\(\) gives"),
    (datetime, datetime(2030, 1, 1, tzinfo=NoName()), r"time zone \(a NoName\) has no name"),
    (Any, datetime(2030, 1, 1, tzinfo=NoName()), r"time zone \(a NoName\) has no name"),
    (Any, [time(1, tzinfo=timezone(timedelta(0), "ZULU"))], "has no name that could be stored"),
    (Opaque, put(Opaque(), _open=open), r"another Opaque \(another \._open\)"),
]


@pytest.mark.parametrize(("hint", "value", "why"), REFUSED, ids=numbered(REFUSED))
def test_what_could_not_be_read_back_is_refused_with_the_reason(
    hint: Any, value: Any, why: str
) -> None:
    with pytest.raises(InvalidCallError, match=why):
        stored(hint, value)


def test_a_zone_that_this_machine_lacks_is_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {hint: stored(hint, FIRST) for hint in (datetime, Any)}

    def unknown(key: str) -> ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")

    monkeypatch.setattr("wopr.domain.zones.ZoneInfo", unknown)
    for hint, text in texts.items():
        with pytest.raises(InvalidCallError, match="No time zone found with key Europe/Berlin"):
            CallCodec(annotated(hint), "job").decode_call(text, "{}")


# -- whatever is given -------------------------------------------------------------

ZONES = (
    st.none()
    | st.just(UTC)
    | st.timezones()
    | st.builds(
        timezone, st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23))
    )
)
MOMENTS = st.builds(
    lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold),
    st.datetimes(),
    ZONES,
    st.sampled_from((0, 1)),
)
TIMES = st.builds(
    lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold),
    st.times(),
    ZONES,
    st.sampled_from((0, 1)),
)
TEXT = st.text(max_size=5) | st.sampled_from(["$type", "set", "2030-01-01T00:00:00+01:00"])


def some(model: Any, /, **fields: Any) -> st.SearchStrategy[Any]:
    """Give a model with any choice of its fields set."""
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: model(**given))


PATCHES = st.recursive(
    some(Patch, name=st.none() | TEXT, size=st.integers(), at=st.none() | MOMENTS),
    lambda inner: some(Patch, inner=st.none() | inner, others=st.lists(inner, max_size=2)),
    max_leaves=4,
)
HIDDEN = st.builds(
    lambda seen, at: put(Hidden(), _seen=seen, _at=at), st.integers(), st.none() | MOMENTS
)
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    str: TEXT,
    float: st.floats(),
    bytes: st.binary(max_size=5),
    datetime: MOMENTS,
    time: TIMES,
    date: st.dates(),
    timedelta: st.timedeltas(),
    Decimal: st.decimals(),
    UUID: st.uuids(),
    Level: st.just(Level.HIGH),
    Moment: st.datetimes().map(lambda at: Moment(*at.timetuple()[:6], at.microsecond)),
    Slug: TEXT.map(Slug),
    Span: st.timedeltas().map(lambda at: Span(at.days, at.seconds, at.microseconds)),
    Aliased: TEXT.map(lambda text: Aliased(value=text)),
    Camel: st.builds(lambda one, two: Camel(firstName=one, lastName=two), TEXT, TEXT),
    ByAlias: some(ByAlias, firstName=TEXT, lastName=TEXT),
    Area: st.integers().map(lambda side: Area(side=side)),
    Patch: PATCHES,
    Made: some(Made, id=st.uuids(), at=MOMENTS),
    Loose: st.dictionaries(
        st.text(min_size=1, max_size=5) | st.just("$type"), TEXT, max_size=2
    ).map(lambda extra: Loose.model_validate({**extra, "size": 1})),
    Frozen: MOMENTS.map(lambda at: Frozen(at=at)),
    Hidden: HIDDEN,
    Parsed: st.dictionaries(TEXT, st.integers()).map(lambda data: Parsed(data=json.dumps(data))),
    Tags: st.lists(MOMENTS, max_size=3).map(Tags),
    Place: st.builds(Place, MOMENTS, PATCHES),
    Checked: MOMENTS.map(lambda at: Checked(title="a", at=at)),
    Span2: st.builds(Span2, MOMENTS, MOMENTS),
    deque[int]: st.builds(deque, st.lists(st.integers()), st.none() | st.integers(0, 3)),
    Any: MOMENTS | TIMES | st.lists(MOMENTS | TEXT, max_size=2),
}


def around(pair: tuple[Any, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Give a hint around another one, and what fits it."""
    hint, values = pair
    return st.sampled_from(
        [
            (list[hint], st.lists(values, max_size=2)),
            (dict[str, hint], st.dictionaries(TEXT, values, max_size=2)),
            (tuple[hint, ...], st.lists(values, max_size=2).map(tuple)),
            (tuple[int, hint], st.tuples(st.integers(), values)),
            (hint | None, st.none() | values) if hint is not Any else (hint, values),
            (hint | str, values | TEXT) if hint is not Any else (hint, values),
            (Annotated[hint, "said"], values),
        ]
    )


PAIRS = st.recursive(
    st.sampled_from(sorted(LEAVES.items(), key=repr)),
    lambda inner: inner.flatmap(around),
    max_leaves=3,
)


@settings(max_examples=400, deadline=None)
@given(PAIRS.flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_any_value_is_read_back_as_it_was_or_refused(pair: tuple[Any, Any]) -> None:
    hint, value = pair
    before = picture(value)
    try:
        text = stored(hint, value)
    except InvalidCallError:
        return
    json.loads(text)
    [found], _ = CallCodec(annotated(hint), "job").decode_call(text, "{}")
    assert before == picture(found)
    assert before == picture(value)
