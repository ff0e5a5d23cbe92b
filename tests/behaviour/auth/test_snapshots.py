"""Signed snapshots: what they hold, and that nothing but the right one counts."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.identities import (
    ADA,
    BOB,
    CREDENTIAL,
    KEY,
    OTHER_SECRET,
    SECRET,
    auth_with,
    part,
    parts_of,
    pem_pair,
)
from support.queues import NOON, SteppableClock
from wopr import AuthRequirementDeniedError, InvalidAuthContextValueError
from wopr.auth import AuthContext, ReasonCode, SigningKey
from wopr.auth.snapshot import TYPE, Call, Snapshots

CALL = Call("export", '["q3",{"pages":[1,2.5]}]', '{"to":"ada"}')
INVALID = ReasonCode.SNAPSHOT_INVALID
EXPIRED = ReasonCode.SNAPSHOT_EXPIRED


def refusal(snapshots: Snapshots, token: object, call: Call = CALL) -> ReasonCode:
    """Return why the token does not count."""
    with pytest.raises(AuthRequirementDeniedError) as caught:
        snapshots.verify(token, call)
    return caught.value.decision.reason_code


def signed(claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """Return a token of any content, well signed with the key of the tests."""
    headers = {"alg": "HS256", "kid": "k1", "typ": TYPE, **(header or {})}
    text = f"{part(headers)}.{part(claims)}"
    signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.fixture
def clock() -> SteppableClock:
    return SteppableClock()


@pytest.fixture
def snapshots(clock: SteppableClock) -> Snapshots:
    return auth_with(clock=clock, claims=("email", "phone")).snapshots


@pytest.fixture
def token(snapshots: Snapshots) -> str:
    return snapshots.sign(ADA, CALL)


def test_the_identity_comes_back_without_what_is_not_to_be_kept(
    snapshots: Snapshots, token: str
) -> None:
    expected = dataclasses.replace(
        ADA, claims={"email": "ada@example.org"}, metadata={}, credential_carrier=None
    )
    assert snapshots.verify(token, CALL) == expected


def test_a_bare_identity_comes_back_too(snapshots: Snapshots) -> None:
    assert snapshots.verify(snapshots.sign(BOB, CALL), CALL) == BOB


def test_it_holds_just_this(snapshots: Snapshots, token: str) -> None:
    header, claims, _ = parts_of(token)
    assert header == {"alg": "HS256", "kid": "k1", "typ": TYPE}
    assert len(claims.pop("jti")) == 36
    assert claims.pop("call") == CALL.digest()
    noon = int(NOON.timestamp())
    assert claims == {
        "schema_version": 1,
        "sub": "ada",
        "name": "Ada Lovelace",
        "iss": "https://id.example.org",
        "tenant": "engines",
        "roles": ["admin", "editor"],
        "scopes": ["reports:write"],
        "claims": {"email": "ada@example.org"},
        "iat": noon,
        "exp": noon + 30 * 86_400,
    }


def test_a_credential_is_never_in_it(snapshots: Snapshots, token: str) -> None:
    _, claims, _ = parts_of(token)
    assert CREDENTIAL not in json.dumps(claims)


def test_each_has_an_id_of_its_own(snapshots: Snapshots, token: str) -> None:
    assert parts_of(token)[1]["jti"] != parts_of(snapshots.sign(ADA, CALL))[1]["jti"]


def test_any_jose_library_can_verify_it(token: str) -> None:
    options: Any = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(token, SECRET, ["HS256"], options=options)["sub"] == "ada"


@pytest.mark.parametrize("value", [NOON, {1}, float("nan"), b"x"])
def test_a_selected_claim_that_is_no_json_is_refused(snapshots: Snapshots, value: Any) -> None:
    context = dataclasses.replace(ADA, claims={"email": value})
    with pytest.raises(InvalidAuthContextValueError, match=r"'email'.*Auth\(claims="):
        snapshots.sign(context, CALL)
    assert snapshots.sign(dataclasses.replace(ADA, claims={"other": value}), CALL)


# -- tampering -------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        CALL._replace(name="delete"),
        CALL._replace(args='["q4",{"pages":[1,2.5]}]'),
        CALL._replace(args='["q3",{"pages":[2.5,1]}]'),
        CALL._replace(args='["q3",{"pages":[1,2.5]},null]'),
        CALL._replace(args='["q3",{"pages":[1.0,2.5]}]'),
        CALL._replace(kwargs='{"to":"eve"}'),
        CALL._replace(kwargs='{"to":"ada","cc":"eve"}'),
        CALL._replace(kwargs="{}"),
        CALL._replace(kwargs='{"to":"eve","to":"ada"}'),
        CALL._replace(kwargs='{"to":"ada","to":"ada"}'),
        Call(CALL.name, CALL.kwargs, CALL.args),
        CALL._replace(args=""),
        CALL._replace(args="[" * 100_000),
        CALL._replace(args=None),  # type: ignore[arg-type]
        CALL._replace(results={"args": {"0": 0}}),
    ],
    ids=range(15),
)
def test_it_counts_for_no_other_call(snapshots: Snapshots, token: str, other: Call) -> None:
    assert refusal(snapshots, token, other) is INVALID


def test_it_counts_however_the_same_arguments_are_written(snapshots: Snapshots) -> None:
    call = Call("é", '["Zoë",{"b":1e2,"a":"\\u00e9"},123456789012345678901]', '{"x":1,"y":null}')
    token = snapshots.sign(ADA, call)
    same = Call(
        "é", ' [ "Zo\\u00eb", {"a":"é","b":100.0}, 123456789012345678901 ]', '{"y":null, "x":1}'
    )
    assert snapshots.verify(token, same).subject.id == "ada"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, JSON)
def test_two_calls_have_one_digest_only_if_they_are_the_same(one: Any, two: Any) -> None:
    texts = [json.dumps(value, sort_keys=True) for value in (one, two)]
    digests = [Call("export", text, "{}").digest() for text in texts]
    assert (texts[0] == texts[1]) == (digests[0] == digests[1])
    pretty = json.dumps(one, indent=1, ensure_ascii=False)
    assert Call("export", pretty, "{}").digest() == digests[0]


@given(st.data())
def test_one_changed_character_anywhere_and_it_does_not_count(data: st.DataObject) -> None:
    snapshots = auth_with().snapshots
    token = snapshots.sign(ADA, CALL)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_.=+ é\x00"))
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        assert refusal(snapshots, changed) is INVALID


def _edited(change: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    def edit(token: str) -> str:
        header, claims, signature = parts_of(token)
        change(claims)
        return f"{part(header)}.{part(claims)}.{signature}"

    return edit


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.update(sub="eve"),
        lambda claims: claims["roles"].append("root"),
        lambda claims: claims.update(tenant="others"),
        lambda claims: claims.update(exp=claims["exp"] + 1),
        lambda claims: claims.update(call="0" * 64),
    ],
    ids=["subject", "roles", "tenant", "expiry", "call"],
)
def test_edited_claims_do_not_count(
    snapshots: Snapshots, token: str, change: Callable[[dict[str, Any]], None]
) -> None:
    assert refusal(snapshots, _edited(change)(token)) is INVALID


@pytest.mark.parametrize(
    "strange", ["", "x", "a.b.c", "..", "e30.e30.", 5, True, ["a"], {"a": 1}, b"\xff", "é.é.é"]
)
def test_what_is_no_token_does_not_count(snapshots: Snapshots, strange: object) -> None:
    assert refusal(snapshots, strange) is INVALID


def test_none_at_all_is_missing(snapshots: Snapshots) -> None:
    assert refusal(snapshots, None) is ReasonCode.SNAPSHOT_MISSING


# -- algorithms and keys ---------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "NONE", "nOnE", "", None])
@pytest.mark.parametrize("key_id", ["k1", "k2", None])
def test_an_unsigned_token_does_not_count(
    snapshots: Snapshots, token: str, algorithm: str | None, key_id: str | None
) -> None:
    header, claims, signature = parts_of(token)
    header = {**header, "alg": algorithm, "kid": key_id}
    for end in ("", signature):
        assert refusal(snapshots, f"{part(header)}.{part(claims)}.{end}") is INVALID


def test_a_secret_made_of_a_public_key_signs_nothing() -> None:
    private, public = pem_pair("RS256")
    snapshots = auth_with(SigningKey("k1", private, "RS256")).snapshots
    _, claims, _ = parts_of(snapshots.sign(ADA, CALL))
    header = {"alg": "HS256", "kid": "k1", "typ": TYPE}
    text = f"{part(header)}.{part(claims)}"
    for secret in (public, public.strip(), private):
        mac = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
        forged = f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        assert refusal(snapshots, forged) is INVALID


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_the_algorithm_is_the_one_of_our_key_not_of_the_token(
    snapshots: Snapshots, token: str, algorithm: str
) -> None:
    _, claims, _ = parts_of(token)
    headers = {"kid": "k1", "typ": TYPE}
    secret = SECRET.encode()
    text = f"{part({'alg': algorithm, **headers})}.{part(claims)}"
    digest = algorithm.replace("HS", "sha")
    mac = hmac.new(secret, text.encode(), digest).digest()
    forged = f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert refusal(snapshots, forged) is INVALID


def test_a_key_in_the_token_itself_is_not_used(snapshots: Snapshots, token: str) -> None:
    _, claims, _ = parts_of(token)
    key = {"kty": "oct", "k": base64.urlsafe_b64encode(OTHER_SECRET.encode()).decode()}
    header = {"kid": "k1", "typ": TYPE, "jwk": key, "jku": "https://eve.example.org/keys"}
    forged = jwt.encode(claims, OTHER_SECRET, "HS256", header)
    assert refusal(snapshots, forged) is INVALID


@pytest.mark.parametrize("key_id", ["k2", "", None, 7, ["k1"], {"k1": 1}])
def test_an_unknown_key_id_does_not_count(snapshots: Snapshots, token: str, key_id: object) -> None:
    _, claims, _ = parts_of(token)
    assert refusal(snapshots, signed(claims, {"kid": key_id})) is INVALID
    assert snapshots.verify(signed(claims), CALL), "it is the key id that was wrong"


def test_another_key_of_the_same_id_does_not_count(snapshots: Snapshots) -> None:
    other = auth_with(SigningKey("k1", OTHER_SECRET)).snapshots
    assert refusal(snapshots, other.sign(ADA, CALL)) is INVALID


def test_without_keys_it_can_not_be_told(token: str) -> None:
    snapshots = auth_with(keys=()).snapshots
    unable = ReasonCode.VERIFICATION_PROVIDER_UNAVAILABLE
    assert refusal(snapshots, token) is unable
    assert refusal(snapshots, None) is unable


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA", "ES256", "RS256", "PS256"])
def test_every_algorithm_signs_what_it_verifies(algorithm: str) -> None:
    key = SECRET if algorithm == "HS256" else pem_pair(algorithm)[0]
    snapshots = auth_with(SigningKey("k1", key, algorithm)).snapshots
    token = snapshots.sign(ADA, CALL)
    assert parts_of(token)[0]["alg"] == algorithm
    assert snapshots.verify(token, CALL).subject.id == "ada"
    head, claims, _ = token.split(".")
    other = snapshots.sign(ADA, CALL).split(".")[2]
    assert refusal(snapshots, f"{head}.{claims}.{other}") is INVALID


def test_after_rotation_the_old_key_still_verifies_until_it_is_taken_away() -> None:
    new = SigningKey("k2", pem_pair("EdDSA")[0], "EdDSA")
    before, during, after = auth_with(KEY), auth_with(new, KEY), auth_with(new)
    old_token, new_token = (auth.snapshots.sign(ADA, CALL) for auth in (before, during))
    assert parts_of(old_token)[0]["kid"] == "k1"
    assert parts_of(new_token)[0]["kid"] == "k2"
    for token in (old_token, new_token):
        assert during.snapshots.verify(token, CALL).subject.id == "ada"
    assert after.snapshots.verify(new_token, CALL).subject.id == "ada"
    assert refusal(after.snapshots, old_token) is INVALID
    assert refusal(before.snapshots, new_token) is INVALID


# -- well signed, and yet no snapshot ---------------------------------------------


def test_a_token_of_the_application_with_the_same_key_is_no_snapshot(
    snapshots: Snapshots, token: str
) -> None:
    _, claims, _ = parts_of(token)
    for kind in ("JWT", "at+jwt", None):
        assert refusal(snapshots, signed(claims, {"typ": kind})) is INVALID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema_version", 2),
        ("schema_version", None),
        ("sub", ""),
        ("sub", 5),
        ("iss", None),
        ("roles", "admin"),
        ("roles", [1]),
        ("scopes", None),
        ("claims", []),
        ("iat", "now"),
        ("iat", 1.5),
        ("iat", True),
        ("exp", None),
        ("exp", float("inf")),
        ("exp", 10**4_000),
        ("iat", -1),
        ("call", None),
        ("call", ["x"]),
    ],
)
def test_claims_that_can_not_be_do_not_count(
    snapshots: Snapshots, token: str, name: str, value: object
) -> None:
    _, claims, _ = parts_of(token)
    assert refusal(snapshots, signed({**claims, name: value})) is INVALID


def test_a_time_of_more_digits_than_python_reads_does_not_count(
    snapshots: Snapshots, token: str
) -> None:
    _, claims, _ = parts_of(token)
    text = json.dumps({**claims, "exp": 0}).replace('"exp": 0', f'"exp": {"9" * 5_000}')
    claimed = jwt.api_jws.encode(text.encode(), SECRET, "HS256", {"kid": "k1", "typ": TYPE})
    assert refusal(snapshots, claimed) is INVALID


@pytest.mark.parametrize(
    "name",
    ["schema_version", "sub", "iss", "roles", "scopes", "claims", "iat", "exp", "call"],
)
def test_a_missing_claim_does_not_count(snapshots: Snapshots, token: str, name: str) -> None:
    _, claims, _ = parts_of(token)
    del claims[name]
    assert refusal(snapshots, signed(claims)) is INVALID


@pytest.mark.parametrize("claims", [[], "text", None, 5])
def test_claims_that_are_no_object_do_not_count(snapshots: Snapshots, claims: Any) -> None:
    assert refusal(snapshots, signed(claims)) is INVALID


# -- time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "counts"),
    [(0, True), (3_599, True), (3_600 + 59, True), (3_600 + 60, False), (10**9, False)],
)
def test_it_expires_after_its_lifetime_and_the_skew(seconds: float, counts: bool) -> None:
    clock = SteppableClock(datetime(2030, 5, 17, 12, tzinfo=UTC))
    snapshots = auth_with(clock=clock, lifetime=timedelta(hours=1)).snapshots
    token = snapshots.sign(ADA, CALL)
    clock.advance(seconds)
    if counts:
        assert snapshots.verify(token, CALL).subject.id == "ada"
    else:
        assert refusal(snapshots, token) is EXPIRED


@pytest.mark.parametrize(("seconds", "counts"), [(-60, True), (-61, False), (-(10**6), False)])
def test_a_clock_may_be_behind_by_the_skew_and_no_more(seconds: float, counts: bool) -> None:
    clock = SteppableClock(datetime(2030, 5, 17, 12, tzinfo=UTC))
    snapshots = auth_with(clock=clock).snapshots
    token = snapshots.sign(ADA, CALL)
    clock.advance(seconds)
    if counts:
        assert snapshots.verify(token, CALL).subject.id == "ada"
    else:
        assert refusal(snapshots, token) is INVALID


def test_the_skew_can_be_none() -> None:
    clock = SteppableClock(datetime(2030, 5, 17, 12, tzinfo=UTC))
    options = {"lifetime": timedelta(hours=1), "clock_skew": timedelta(0)}
    snapshots = auth_with(clock=clock, **options).snapshots
    token = snapshots.sign(ADA, CALL)
    clock.advance(3_599)
    assert snapshots.verify(token, CALL)
    clock.advance(1)
    assert refusal(snapshots, token) is EXPIRED


def test_what_was_changed_and_is_old_is_called_invalid_not_expired(
    snapshots: Snapshots, token: str, clock: SteppableClock
) -> None:
    clock.advance(10**8)
    assert refusal(snapshots, token) is EXPIRED
    assert refusal(snapshots, token, CALL._replace(args="[]")) is INVALID


def test_the_machine_clock_has_no_say() -> None:
    past = SteppableClock(datetime(1999, 1, 1, tzinfo=UTC))
    snapshots = auth_with(clock=past, lifetime=timedelta(minutes=1)).snapshots
    context: AuthContext = snapshots.verify(snapshots.sign(ADA, CALL), CALL)
    assert context.subject.id == "ada"
