"""The parameters of a function: which value belongs to which, and whether a call fits."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Unpack, get_origin, get_type_hints

from wopr.domain.callables import annotation_text, resolved_hints
from wopr.domain.slots import Slot

_Kind = inspect.Parameter
_PLAIN = (str, int, float, bool)
_NEVER = sys.maxsize  # the position of what only a keyword can give
_STARRED = (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD)


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
        parameters = list(signature.parameters.values())

        def slot(parameter: inspect.Parameter) -> Slot:
            return _slot(parameter.name, parameter.annotation, hints[parameter.name], depth)

        by_position = [p for p in parameters if p.kind in _BY_POSITION]
        by_keyword = [p for p in parameters if p.kind in _BY_KEYWORD]
        self._signature = signature
        self._ordered = [slot(p) for p in by_position]
        places = {p.name: index for index, p in enumerate(by_position)}
        self._named = {
            p.name: self._ordered[places[p.name]] if p.name in places else slot(p)
            for p in by_keyword
        }
        self._places = {p.name: places.get(p.name, _NEVER) for p in by_keyword}
        self._extra = next((slot(p) for p in parameters if p.kind is _STARRED[0]), None)
        self._other = next((slot(p) for p in parameters if p.kind is _STARRED[1]), None)
        self.defaults = {p.name: p.default for p in parameters if type(p.default) in _PLAIN}
        required = [p for p in parameters if p.default is _Kind.empty and p.kind not in _STARRED]
        self._required = [p.name for p in required if p.kind in _BY_KEYWORD]
        self._only_by_position = sum(p.kind is _Kind.POSITIONAL_ONLY for p in required)
        if self._other is not None and get_origin(self._other.hint) is Unpack:
            self._unpack(self._other.hint.__args__[0], depth)
        by_count = [p for p in required if p.kind in _BY_POSITION]
        self.fewest = len(by_count)
        self.most = (
            len(self._ordered)
            if len(self._required) + self._only_by_position == len(by_count)
            else -1
        )
        self.kinds = tuple(slot.kinds for slot in self._ordered)
        self.result = _slot("return", signature.return_annotation, hints["return"], depth)

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

    def label(self, index: int) -> str:
        """Name the positional argument ``index`` for an error."""
        slot = self.positional(index)
        past = index - len(self._ordered)
        return slot.name if past < 0 else f"*{slot.name}[{past}]"


_BY_POSITION = (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
_BY_KEYWORD = (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)


def _slot(name: str, written: object, hint: Any, depth: int) -> Slot:
    return Slot(name, "" if written is _Kind.empty else annotation_text(written), hint, depth)
