"""Arguments and results of one function as JSON text, checked by its signature.

A call is bound and validated when it is enqueued, so a wrong one fails at its
caller. Reading the text back gives the function the values it would have got.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from wopr.domain.callables import is_async_callable, signature_of, signature_text
from wopr.domain.errors import InvalidCallError, PayloadError, PayloadTooLargeError
from wopr.domain.jsontext import (
    MAX_INT_DIGITS,
    MisfitError,
    OverBudgetError,
    RefusedError,
    clip,
    decode_plain,
    encode_plain,
    safe_text,
    too_large,
    type_name,
)
from wopr.domain.parameters import Parameters
from wopr.domain.resultof import HOLE
from wopr.domain.slots import Slot
from wopr.domain.supplied import Supplied, split

__all__ = [
    "CallCodec",
    "PayloadLimits",
    "clip",
    "decode_plain",
    "encode_plain",
    "is_async_callable",
    "signature_text",
]

_WORD = 1 << 63


@dataclass(frozen=True, slots=True)
class PayloadLimits:
    """The most a payload may be.

    Attributes:
        args: Bytes of JSON of all arguments together.
        result: Bytes of JSON of a result.
        error: Bytes of an error text or traceback (longer ones are cut).
        depth: Levels of JSON nesting.
    """

    args: int = 262_144
    result: int = 1_048_576
    error: int = 65_536
    depth: int = 64


@dataclass(frozen=True, slots=True)
class Stored:
    """A result as it stands in the file: the function that knows its type is not here."""

    json: object


class CallCodec:
    """Encode and decode the calls and results of one function.

    Annotations are looked at on first use, so a function may be registered
    before the classes it names are defined.

    Attributes:
        supplied: The parameters that are no part of a call; known after first use.
    """

    def __init__(
        self,
        function: Callable[..., object],
        name: str,
        limits: PayloadLimits = PayloadLimits(),
        provides: Callable[[Any], bool] = lambda hint: False,
    ) -> None:
        """Make the codec of ``function``, which errors call ``name``.

        ``provides`` says whether there is a resource for an annotation.
        """
        self.name = name
        self.limits = limits
        self._function = function
        self._provides = provides
        self._quick_bytes = limits.args - 2
        self.forget()

    def forget(self) -> None:
        """Look at the parameters again: there are other resources than before."""
        self._signature = signature_of(self._function)
        self.supplied: tuple[Supplied, ...] = ()
        self._lazy_parameters: Parameters | None = None
        # Until the parameters are known, these make every call take the thorough path.
        self._fewest, self._most = 1, 0
        self._kinds: tuple[frozenset[type], ...] = ()
        self._result_is_int = False

    @property
    def signature(self) -> str:
        """The function's signature as it would be written."""
        return signature_text(self._function, self.name, self._signature)

    @property
    def parameters(self) -> Parameters:
        """The parameters of a call."""
        found = self._lazy_parameters
        if found is None:
            self._signature, self.supplied = split(
                self._function, signature_of(self._function), self._provides
            )
            found = Parameters(self._function, self._signature, self.limits.depth)
            self._lazy_parameters = found
            self._result_is_int = int in found.result.kinds
            self._kinds = found.kinds
            self._fewest, self._most = found.fewest, found.most
        return found

    # -- calls ---------------------------------------------------------------

    def encode_call(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[str, str]:
        """Return the arguments as the text of a JSON array and of a JSON object.

        Raises:
            InvalidCallError: The arguments don't fit the signature.
            PayloadError: An argument has the wrong type or no JSON form.
            PayloadTooLargeError: The texts are over ``limits.args`` bytes together.
        """
        if type(args) is tuple and not kwargs and self._fewest <= len(args) <= self._most:
            for value, kinds in zip(args, self._kinds, strict=False):
                kind = type(value)
                if kind not in kinds or (kind is float and value - value != 0.0):  # type: ignore[operator]
                    break
            else:
                try:
                    data = to_json(args)
                except ValueError:  # a lone surrogate: the thorough path says where
                    data = b""
                if 0 < len(data) <= self._quick_bytes and (
                    len(data) < MAX_INT_DIGITS or not any(map(_is_long_int, args))
                ):
                    return data.decode(), "{}"
        try:
            return self._encode_call(args, kwargs)
        except InvalidCallError:
            raise
        except Exception as error:  # an argument whose own methods raise
            raise PayloadError(
                f"The arguments of task {self.name!r} can't be stored as JSON: "
                f"{type_name(error)}: {safe_text(error)}. The signature is {self.signature}."
            ) from error

    def _encode_call(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[str, str]:
        if type(args) not in (tuple, list) or not isinstance(kwargs, Mapping):
            raise InvalidCallError(
                f"args must be a tuple and kwargs a dict, not {type_name(args)} and "
                f"{type_name(kwargs)}: enqueue({self.name!r}, args=(1, 'two'), "
                f"kwargs={{'three': 3}}). The signature is {self.signature}."
            )
        args, kwargs = tuple(args), dict(kwargs)
        self.check_binding(args, kwargs)
        parameters, limit, spent = self.parameters, self.limits.args, 0
        largest = (0, "")

        def encode(slot: Slot, label: str, value: object) -> bytes:
            nonlocal spent, largest
            data = self._encode_argument(slot, label, value, limit - spent)
            spent += len(data)
            largest = max(largest, (len(data), label))
            return data

        ordered = [
            encode(parameters.positional(index), parameters.label(index), value)
            for index, value in enumerate(args)
        ]
        named = [
            to_json(key) + b":" + encode(parameters.keyword(key), key, value)
            for key, value in kwargs.items()
        ]
        args_text = b"[" + b",".join(ordered) + b"]"
        kwargs_text = b"{" + b",".join(named) + b"}"
        size = len(args_text) + len(kwargs_text)
        if size > limit:
            raise self._args_too_large(size, largest[1])
        return args_text.decode(), kwargs_text.decode()

    def check_binding(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Raise InvalidCallError for arguments that no call has."""
        problem = self.parameters.problem(args, kwargs)
        if problem is not None:
            filled = ", ".join(repr(one.name) for one in self.supplied)
            note = f" A resource fills {filled}: leave that out." if filled else ""
            raise InvalidCallError(
                f"The call of task {self.name!r} doesn't fit: {problem}. "
                f"The signature is {self.signature}.{note}"
            )

    def arguments(self, args: str, kwargs: str) -> dict[str, object]:
        """Return the stored arguments of a call by name, as JSON values, with plain defaults."""
        parameters = self.parameters
        named = {} if kwargs == "{}" else from_json(kwargs)
        return {**parameters.defaults, **parameters.named(from_json(args)), **named}

    def accepts(self, keyword: str, given: int, *, exactly: bool = False) -> bool:
        """Whether a call with ``given`` positional arguments can have this keyword as well."""
        return self.parameters.accepts(keyword, given, exactly=exactly)

    def fill(
        self, args: str, kwargs: str, ordered: Mapping[int, object], named: Mapping[str, object]
    ) -> tuple[str, str]:
        """Return the texts of a call with values in the holes that it was encoded with.

        Raises:
            PayloadError: A value does not fit its parameter.
        """

        def fitted(slot: Slot, label: str, value: object) -> object:
            if isinstance(value, Stored):
                return value.json  # whether it fits is seen when the call is read
            limit = self.limits.result  # of each: they are results
            return from_json(self._encode_argument(slot, label, value, limit))

        values, keywords = from_json(args), from_json(kwargs)
        for at, value in ordered.items():
            slot, label = self.parameters.positional(at), self.parameters.label(at)
            values[at] = fitted(slot, label, value)
        for key, value in named.items():
            keywords[key] = fitted(self.parameters.keyword(key), key, value)
        return to_json(values).decode(), to_json(keywords).decode()

    def _encode_argument(self, slot: Slot, label: str, value: object, left: int) -> bytes:
        if value is HOLE:
            return b"null"
        try:
            return slot.encode(value, max(left, 0))
        except OverBudgetError:
            raise self._args_too_large(None, label) from None
        except Exception as error:
            what = f"Argument {label!r} of task {self.name!r}"
            raise self._unfit(what, slot, value, error) from _cause(error)

    def _args_too_large(self, size: int | None, label: str) -> PayloadTooLargeError:
        what = f"The arguments of task {self.name!r} (most of it {label!r})"
        return too_large(what, size, self.limits.args, "WOPR_TASKS_MAX_ARGS_BYTES")

    def decode_call(self, args: str, kwargs: str) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return the arguments that :meth:`encode_call` was given.

        Raises:
            InvalidCallError: They no longer fit the function, whose signature must
                have changed since they were stored.
            PayloadError: They no longer fit its annotations, or are not JSON.
        """
        if kwargs == "{}":
            try:
                values = from_json(args)
            except ValueError:  # the thorough path says what is wrong
                values = None
            if type(values) is list and self._fewest <= len(values) <= self._most:
                for value, kinds in zip(values, self._kinds, strict=False):
                    if type(value) not in kinds:
                        break
                else:
                    return tuple(values), {}
        try:
            return self._decode_call(from_json(args), from_json(kwargs))
        except InvalidCallError:
            raise
        except Exception as error:
            raise PayloadError(
                f"The stored arguments of task {self.name!r} can't be read: {safe_text(error)}."
            ) from error

    def fits(self, args: str, kwargs: str) -> bool:
        """Whether :meth:`decode_call` gives the arguments of a stored call."""
        try:
            self.decode_call(args, kwargs)
        except InvalidCallError:
            return False
        return True

    def _decode_call(
        self, args: object, kwargs: object
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        if type(args) is not list or type(kwargs) is not dict:
            raise PayloadError(
                f"The stored arguments of task {self.name!r} are no JSON array and JSON object."
            )
        self.check_binding(tuple(args), kwargs)
        parameters = self.parameters
        ordered = tuple(
            self._decode_argument(parameters.positional(index), parameters.label(index), value)
            for index, value in enumerate(args)
        )
        named = {
            key: self._decode_argument(parameters.keyword(key), key, value)
            for key, value in kwargs.items()
        }
        return ordered, named

    def _decode_argument(self, slot: Slot, label: str, value: object) -> object:
        try:
            return slot.decode(value)
        except Exception as error:
            detail = error.reason if isinstance(error, RefusedError) else safe_text(error)
            raise PayloadError(
                f"Argument {label!r} of task {self.name!r} was stored as a value that no longer "
                f"fits: it {detail}. Has the function changed? The signature is {self.signature}."
            ) from _cause(error)

    # -- results -------------------------------------------------------------

    def encode_result(self, value: object) -> str:
        """Return ``value`` as JSON text, by the return annotation where it fits.

        Raises:
            PayloadError: The value has no JSON form.
            PayloadTooLargeError: The text is over ``limits.result`` bytes.
        """
        if value is None:
            return "null"
        if type(value) is int and self._result_is_int and -_WORD < value < _WORD:
            return str(value)
        what, limit, size = f"The result of task {self.name!r}", self.limits.result, None
        slot: Slot | None = None
        try:
            slot = self.parameters.result
            data = slot.encode_loosely(value, limit)
            size = len(data)
            if size <= limit:
                return data.decode()
        except OverBudgetError:
            pass
        except Exception as error:
            raise self._unfit(what, slot, value, error) from _cause(error)
        raise too_large(what, size, limit, "WOPR_TASKS_MAX_RESULT_BYTES")

    def decode_result(self, text: str | None) -> object:
        """Return the value of a text of :meth:`encode_result`; None for no text.

        Raises:
            PayloadError: The text is not JSON.
        """
        if text is None or text == "null":
            return None
        try:
            return self.parameters.result.decode_loosely(from_json(text))
        except Exception as error:
            raise PayloadError(
                f"The stored result of task {self.name!r} can't be read: {safe_text(error)}."
            ) from error

    # -- errors --------------------------------------------------------------

    def _unfit(self, what: str, slot: Slot | None, value: object, error: Exception) -> PayloadError:
        """Return the error that says why ``value`` is refused and how to do it right."""
        if isinstance(error, MisfitError):
            reason = error.reason
        elif isinstance(error, RefusedError):
            place = f" at {what.split(maxsplit=1)[0].lower()}{error.where()}" if error.path else ""
            reason = f"({type_name(value)}) can't be stored as JSON:{place} {error.reason}"
            if error.type_name and slot is not None and slot.is_open:
                reason += f". {_advice(slot, error)}"
        else:
            reason = (
                f"({type_name(value)}) can't be stored as JSON: "
                f"{type_name(error)}: {safe_text(error)}"
            )
        return PayloadError(f"{what} {reason}. The signature is {self.signature}.")


def _is_long_int(value: object) -> bool:
    """Tell whether ``value`` may be an int of more digits than can be read back."""
    return type(value) is int and value.bit_length() > 3 * MAX_INT_DIGITS


def _advice(slot: Slot, error: RefusedError) -> str:
    where = "-> " if slot.name == "return" else f"{slot.name}: "
    word = error.type_name if not error.path else f"list[{error.type_name}], for example"
    return f"Annotate it ({where}{word}) or use plain values"


def _cause(error: Exception) -> Exception | None:
    """Return what is worth showing as the cause: not our own marks."""
    return None if isinstance(error, RefusedError) else error
