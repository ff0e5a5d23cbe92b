"""Identities and keys for tests of protected tasks."""

from __future__ import annotations

import base64
import functools
import json
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support.queues import SteppableClock
from wopr.auth import Auth, AuthContext, SigningKey, Subject

SECRET = "correct horse battery staple, and then some"
OTHER_SECRET = "another secret that is more than long enough"
KEY = SigningKey("k1", SECRET)
CREDENTIAL = "Bearer raw-credential-of-ada"

ADA = AuthContext(
    subject=Subject("ada", "Ada Lovelace"),
    issuer="https://id.example.org",
    tenant="engines",
    roles={"editor", "admin"},
    scopes={"reports:write"},
    claims={"email": "ada@example.org", "access_token": CREDENTIAL},
    metadata={"request": CREDENTIAL},
    credential_carrier=CREDENTIAL,
)
BOB = AuthContext(subject="bob", issuer="https://id.example.org")


def auth_with(*keys: SigningKey, **options: Any) -> Auth:
    """Return a configuration that makes snapshots, with one key unless others are given."""
    return Auth(**{"snapshots": True, "keys": keys or (KEY,), "clock": SteppableClock(), **options})


@functools.cache
def pem_pair(algorithm: str) -> tuple[str, str]:
    """Return a private and a public key as PEM."""
    key: Any
    if algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def part(value: object) -> str:
    """Return JSON as a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return the header, the claims and the signature of a token, unverified."""
    header, claims, signature = token.split(".")
    return _read(header), _read(claims), signature


def _read(text: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return read
