"""Keys: what they must be, and that nothing ever shows them."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from support.identities import ADA, KEY, SECRET, auth_with, pem_pair
from support.programs import clean_environment
from wopr import AuthRequirementDeniedError, AuthSnapshotUnavailableError, InvalidCallError
from wopr.auth import SigningKey
from wopr.auth.snapshot import Call

CALL = Call("export", "[1]", "{}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("", SECRET), "key_id"),
        ((7, SECRET), "key_id"),
        (("k", None), "must be a str or bytes"),
        (("k", object()), "must be a str or bytes"),
        (("k", SECRET, "none"), "algorithm must be one of"),
        (("k", SECRET, "None"), "algorithm must be one of"),
        (("k", SECRET, "hs256"), "algorithm must be one of"),
        (("k", SECRET, None), "algorithm must be one of"),
        (("k", "", "EdDSA"), "at least 1 bytes"),
        (("k", SECRET[:31]), "at least 32 bytes, this one has 31"),
        (("k", SECRET[:32].encode(), "HS384"), "at least 48 bytes"),
        (("k", SECRET, "HS512"), "at least 64 bytes"),
    ],
)
def test_a_key_that_can_not_be_is_refused_without_showing_it(
    values: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(InvalidCallError, match=message) as caught:
        SigningKey(*values)
    assert SECRET[:20] not in str(caught.value)


def test_a_secret_of_just_enough_bytes_will_do() -> None:
    assert SigningKey("k", "é" * 16).algorithm == "HS256"
    auth = auth_with(SigningKey("k", b"\x00" * 32))
    assert auth.snapshots.verify(auth.snapshots.sign(ADA, CALL), CALL).subject.id == "ada"


def test_each_key_needs_an_id_of_its_own() -> None:
    with pytest.raises(InvalidCallError, match="'k1'"):
        auth_with(KEY, SigningKey("k1", SECRET[::-1]))


def test_no_repr_shows_a_key() -> None:
    auth = auth_with()
    auth.snapshots.sign(ADA, CALL)
    shown = [repr(KEY), str(KEY), repr(auth), repr(auth.keys), repr(auth.snapshots), f"{[KEY]}"]
    assert not [text for text in shown if SECRET in text]
    assert "k1" in repr(auth)


BAD_KEYS = [
    pytest.param(SigningKey("bad", "-----BEGIN NONSENSE----- s3cret", "EdDSA"), id="no PEM"),
    pytest.param(SigningKey("bad", "s3cret" * 20, "RS256"), id="secret for RS256"),
    pytest.param(SigningKey("bad", pem_pair("EdDSA")[0], "RS256"), id="EdDSA for RS256"),
    pytest.param(SigningKey("bad", pem_pair("ES256")[0], "ES384"), id="wrong curve"),
    pytest.param(SigningKey("bad", pem_pair("RS256")[1]), id="public key as secret"),
    pytest.param(SigningKey("bad", b"\xff\xfe" * 40, "ES256"), id="bytes"),
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_of_another_algorithm_signs_nothing_and_is_not_shown(
    key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(AuthSnapshotUnavailableError, match="'bad'") as caught,
    ):
        auth_with(key).snapshots.sign(ADA, CALL)
    told = str(caught.value) + caplog.text
    secret = key.key if isinstance(key.key, str) else key.key.decode("latin-1")
    assert secret[8:28] not in told
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "a traceback would show what the library said"


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_worker_whose_key_is_broken_can_not_tell(key: SigningKey) -> None:
    good = {"EdDSA": pem_pair("EdDSA")[0], "RS256": pem_pair("RS256")[0]}
    signer = (
        SigningKey("bad", good[key.algorithm], key.algorithm)
        if key.algorithm in good
        else SigningKey("bad", SECRET)
    )
    token = auth_with(signer).snapshots.sign(ADA, CALL)
    with pytest.raises(AuthRequirementDeniedError) as caught:
        auth_with(key).snapshots.verify(token, CALL)
    assert str(caught.value).startswith("auth error: verification_provider_unavailable")


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "PS256"])
def test_a_public_key_verifies_and_does_not_sign(algorithm: str) -> None:
    private, public = pem_pair(algorithm)
    signer = auth_with(SigningKey("k", private, algorithm))
    verifier = auth_with(SigningKey("k", public, algorithm))
    token = signer.snapshots.sign(ADA, CALL)
    assert signer.snapshots.verify(token, CALL).subject == ADA.subject
    assert verifier.snapshots.verify(token, CALL).subject == ADA.subject
    with pytest.raises(AuthSnapshotUnavailableError, match="private key"):
        verifier.snapshots.sign(ADA, CALL)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


SIGNING = f"""
import sys
from wopr.auth import Auth, AuthContext, SigningKey
from wopr.auth.snapshot import Call
auth = Auth(snapshots=True, keys=[SigningKey("k", {SECRET!r})])
call = Call("export", "[]", "{{}}")
ada = AuthContext(subject="ada", issuer="here")
"""


def test_the_library_is_loaded_only_to_sign_or_verify() -> None:
    code = SIGNING + "print('jwt' in sys.modules); auth.snapshots.sign(ada, call)\n"
    assert run(code + "print('jwt' in sys.modules)").split() == ["False", "True"]


def test_without_the_library_it_is_closed_and_says_what_to_install() -> None:
    code = SIGNING + (
        "sys.modules['jwt'] = None\n"
        "for use in (lambda: auth.snapshots.sign(ada, call), "
        "lambda: auth.snapshots.verify('a.b.c', call)):\n"
        "    try: use()\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    first, second = run(code).splitlines()
    assert first.startswith("AuthSnapshotUnavailableError")
    assert second.startswith("AuthRequirementDeniedError auth error:")
    assert "pip install 'wopr[auth]'" in first
    assert "pip install 'wopr[auth]'" in second
