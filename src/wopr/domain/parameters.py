"""The parameters of a function: which value belongs to which, and whether a call fits."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack, get_origin, get_type_hints

from wopr.domain.callables import annotation_text, resolved_hints
from wopr.domain.slots import Slot

_Kind = inspect.Parameter
_PLAIN = (str, int, float, bool)
_NEVER = sys.maxsize  # the position of what only a keyword can give


class Parameters:
    """The slots of one function, found by position or by keyword.

    Attributes:
        fewest: Positional arguments a call without keywords needs at least.
        most: And at most, ``*args`` not counted; below ``fewest`` if keywords are required.
        defaults: Those defaults that are JSON values themselves, by name.
        kinds: The exact builtin types that need no check, by position.
        result: The slot of the return annotation.
    """

    def __init__(
        self, function: Callable[..., object], signature: inspect.Signature, depth: int
    ) -> None:
        """Resolve the annotations of ``function``; JSON may nest ``depth`` levels."""
        hints = resolved_hints(function, signature)
        self._signature = signature
        self._ordered: list[Slot] = []
        self._named: dict[str, Slot] = {}
        self._places: dict[str, int] = {}
        self._extra: Slot | None = None
        self._other: Slot | None = None
        self._required: list[str] = []
        self._only_by_position = 0
        self.fewest = 0
        self.defaults: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            self._add(parameter, _slot(name, parameter.annotation, hints[name], depth))
        if self._other is not None and get_origin(self._other.hint) is Unpack:
            self._unpack(self._other.hint.__args__[0], depth)
        by_position_alone = len(self._required) + self._only_by_position == self.fewest
        self.most = len(self._ordered) if by_position_alone else -1
        self.kinds = tuple(slot.kinds for slot in self._ordered)
        self._labels = [slot.name for slot in self._ordered]
        self.result = _slot("return", signature.return_annotation, hints["return"], depth)

    def _add(self, parameter: inspect.Parameter, slot: Slot) -> None:
        """Note where the values of one more parameter come from."""
        if parameter.kind is _Kind.VAR_POSITIONAL:
            self._extra = slot
        elif parameter.kind is _Kind.VAR_KEYWORD:
            self._other = slot
        else:
            self._add_one(parameter, slot)

    def _add_one(self, parameter: inspect.Parameter, slot: Slot) -> None:
        """Note a parameter that takes one value."""
        name, default = parameter.name, parameter.default
        by_position = parameter.kind in _BY_POSITION
        by_keyword = parameter.kind in _BY_KEYWORD
        required = default is _Kind.empty
        if type(default) in _PLAIN:
            self.defaults[name] = default
        if by_keyword:
            self._named[name] = slot
            self._places[name] = len(self._ordered) if by_position else _NEVER
        if by_position:
            self._ordered.append(slot)
            self.fewest += required
        if required and by_keyword:
            self._required.append(name)
        elif required:
            self._only_by_position += 1

    def _unpack(self, typed_dict: Any, depth: int) -> None:
        """Take the keywords of ``**kwargs: Unpack[SomeTypedDict]`` from that class."""
        for name, hint in get_type_hints(typed_dict, include_extras=True).items():
            self._named[name] = _slot(name, hint, hint, depth)
            self._places[name] = _NEVER
        self._required += sorted(typed_dict.__required_keys__)
        self._other = None

    def problem(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
        """Say why the call doesn't fit the signature; None if it does."""
        given = len(args)
        if (
            (given <= len(self._ordered) or self._extra is not None)
            and given >= self._only_by_position
            and all(name in kwargs or self._places[name] < given for name in self._required)
            and all(
                self._places[key] >= given if key in self._places else self._other is not None
                for key in kwargs
            )
        ):
            return None if all(type(key) is str for key in kwargs) else "keywords must be texts"
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            return str(error)
        # Only an unpacked TypedDict asks for more than the signature says.
        missing = [repr(name) for name in self._required if name not in kwargs]
        unknown = [repr(key) for key in kwargs if key not in self._places]
        return f"missing or unknown keyword arguments: {', '.join(missing + unknown)}"

    def accepts(self, keyword: str, given: int, *, exactly: bool) -> bool:
        """Whether a call with ``given`` positional arguments can have this keyword as well.

        ``exactly``: not by way of ``**kwargs``.
        """
        if keyword in self._places:
            return self._places[keyword] >= given
        return not exactly and self._other is not None

    @property
    def by_name(self) -> dict[str, Slot]:
        """The slots of all parameters that have a name, also of those by position alone."""
        return {**{slot.name: slot for slot in self._ordered}, **self._named}

    @property
    def rest(self) -> Slot | None:
        """What takes other keywords; ``None``: there are no others."""
        return self._other

    @property
    def required(self) -> list[str]:
        """The names of those that a call has to give."""
        only_by_position = [slot.name for slot in self._ordered[: self._only_by_position]]
        return [*only_by_position, *self._required]

    def positional(self, index: int) -> Slot:
        """Return the slot of the positional argument ``index`` of a call that fits."""
        if index < len(self._ordered):
            return self._ordered[index]
        assert self._extra is not None
        return self._extra

    def keyword(self, key: str) -> Slot:
        """Return the slot of the keyword argument ``key`` of a call that fits."""
        slot = self._named.get(key, self._other)
        assert slot is not None
        return slot

    def named(self, values: Sequence[object]) -> dict[str, object]:
        """Return the positional arguments of a call that fits, by their labels."""
        names = self._labels
        if len(values) > len(names):
            names = [*names, *map(self.label, range(len(names), len(values)))]
        return dict(zip(names, values, strict=False))

    def label(self, index: int) -> str:
        """Name the positional argument ``index`` for an error."""
        slot = self.positional(index)
        past = index - len(self._ordered)
        return slot.name if past < 0 else f"*{slot.name}[{past}]"


_BY_POSITION = (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
_BY_KEYWORD = (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)


def _slot(name: str, written: object, hint: Any, depth: int) -> Slot:
    return Slot(name, "" if written is _Kind.empty else annotation_text(written), hint, depth)
