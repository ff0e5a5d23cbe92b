"""The keys that sign and verify snapshots. They appear in no repr, error or log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown, type_name

SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The algorithms with a shared secret, and how long it must be at least."""
ALGORITHMS = (
    *SECRET_BYTES,
    *("EdDSA", "ES256", "ES384", "ES512"),
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with its id and the one algorithm it is used with.

    Args:
        key_id: stands in each snapshot, readable by all; unique among the keys.
        key: a secret for ``HS…`` (at least 32, 48 or 64 bytes for HS256, HS384 and HS512), else
            a private key as PEM without a password. A public key as PEM verifies only.
        algorithm: HS256, HS384, HS512, EdDSA, ES256, ES384, ES512, RS256, RS384, RS512, PS256,
            PS384 or PS512. What a token says about its algorithm does not matter.

    Raises:
        InvalidCallError: a value can't be what it has to be; the message never holds the key.
    """

    key_id: str
    key: str | bytes = field(repr=False)
    algorithm: str = "HS256"

    def __post_init__(self) -> None:
        if not isinstance(self.key_id, str) or not self.key_id.strip():
            raise InvalidCallError(
                f"key_id of a SigningKey must be a text that is not empty, not "
                f"{type_name(self.key_id)}."
            )
        if self.algorithm not in ALGORITHMS:
            raise InvalidCallError(
                f"SigningKey {self.key_id!r}: algorithm must be one of {', '.join(ALGORITHMS)}, "
                f"not {shown(self.algorithm)}."
            )
        if not isinstance(self.key, str | bytes):
            raise InvalidCallError(
                f"SigningKey {self.key_id!r}: key must be a str or bytes, not "
                f"{type_name(self.key)}. Give a private key as PEM text."
            )
        least = SECRET_BYTES.get(self.algorithm, 1)
        size = len(self.key.encode() if isinstance(self.key, str) else self.key)
        if size < least:
            raise InvalidCallError(
                f"SigningKey {self.key_id!r}: {self.algorithm} needs a key of at least {least} "
                f"bytes, this one has {size}. Make one: python -c 'import secrets; "
                "print(secrets.token_urlsafe(64))'."
            )


class KeyUnusableError(Exception):
    """A configured key can't be used. Internal: callers say what follows from it."""


class KeyRing:
    """All keys by id; the first signs. Knows PyJWT, which it loads when it is first needed."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys: dict[str, SigningKey] = {}
        self._prepared: dict[str, Any] = {}
        self._jws: Any = None
        for key in keys:
            if not isinstance(key, SigningKey):
                raise InvalidCallError(f"keys= takes SigningKey objects, not {type_name(key)}.")
            if key.key_id in self._keys:
                raise InvalidCallError(
                    f"Two keys have the id {key.key_id!r}. Each needs its own, so that a snapshot "
                    "says which one signed it."
                )
            self._keys[key.key_id] = key

    def __repr__(self) -> str:
        return f"<KeyRing {list(self._keys)}>"

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def active(self) -> SigningKey:
        """The key that signs; there must be one."""
        return next(iter(self._keys.values()))

    def find(self, key_id: object) -> SigningKey | None:
        """Return the key of an id that a token names."""
        return self._keys.get(key_id) if isinstance(key_id, str) else None

    def jws(self) -> Any:
        """Return the signer and verifier of the library.

        Raises:
            KeyUnusableError: the library is not installed.
        """
        if self._jws is None:
            try:
                import jwt
            except ImportError:
                raise KeyUnusableError(
                    "PyJWT is not installed. Install it: pip install 'wopr[auth]'."
                ) from None
            self._jws = jwt.PyJWS(ALGORITHMS, {"enforce_minimum_key_length": True})
        return self._jws

    def prepared(self, key: SigningKey) -> Any:
        """Return the key as the library wants it.

        Raises:
            KeyUnusableError: it is no key for its algorithm.
        """
        known = self._prepared.get(key.key_id)
        if known is None:
            try:
                known = self.jws().get_algorithm_by_name(key.algorithm).prepare_key(key.key)
            except KeyUnusableError:
                raise
            except Exception as error:  # noqa: BLE001 - the libraries below raise many; no text: it may quote the key
                raise KeyUnusableError(
                    f"The key {key.key_id!r} is no key for {key.algorithm} ({type_name(error)}). "
                    "Give a private or public key as PEM text without a password, or a secret for "
                    "HS256."
                ) from None
            self._prepared[key.key_id] = known
        return known

    def public(self, key: SigningKey) -> Any:
        """Return what verifies: the public half of a private key, else the key itself.

        Raises:
            KeyUnusableError: it is no key for its algorithm.
        """
        prepared = self.prepared(key)
        half = getattr(prepared, "public_key", None)
        return prepared if half is None else half()
