"""Put secrets back into values that were shown without them, and come back edited."""

from __future__ import annotations

from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.masking import MASK, masked


def unmasked(edited: Any, original: Any) -> Any:
    """Return edited values with the secrets of the original where its mask still stands.

    A secret is taken from the place where it was hidden: it can be kept or replaced, and is
    shown to nobody.

    Raises:
        InvalidCallError: a mask stands where no secret was hidden, or in an edited text.
    """
    return _put_back(edited, original, masked(original))


def _put_back(edited: Any, original: Any, hidden: Any) -> Any:
    if isinstance(edited, str):
        if edited == original:
            return edited
        if edited == hidden:
            return original
        _check(edited, original, hidden)
    if isinstance(edited, list):
        there = isinstance(original, list | tuple) and isinstance(hidden, list)
        pairs = [*zip(original, hidden, strict=False)] if there else []
        pairs += [(None, None)] * (len(edited) - len(pairs))
        return [_put_back(one, *pair) for one, pair in zip(edited, pairs, strict=False)]
    if isinstance(edited, dict):
        there = isinstance(original, dict) and isinstance(hidden, dict)
        known, masks = (original, hidden) if there else ({}, {})
        return {key: _put_back(one, known.get(key), masks.get(key)) for key, one in edited.items()}
    return edited


def _check(edited: str, original: Any, hidden: Any) -> None:
    """Refuse what would store a mask in the place of a secret."""
    hides = isinstance(hidden, str) and MASK in hidden and hidden != original
    if edited == MASK or (MASK in edited and hides):
        raise InvalidCallError(
            f"{shown(edited)} has {MASK}, which stands for a secret that was hidden, and here "
            "none is known that it could stand for. Give the whole value; where nothing is to "
            "change, leave all of it as it was shown."
        )
