"""The identity in its context variable."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from support.identities import ADA, BOB, CREDENTIAL
from wopr import AuthContextNotFoundError, InvalidAuthContextValueError
from wopr.auth import (
    AuthContext,
    Subject,
    auth_context,
    current_auth_context,
    require_auth_context,
    store_auth_context,
)


def test_nobody_is_known_at_first() -> None:
    assert current_auth_context() is None
    with pytest.raises(AuthContextNotFoundError, match="store_auth_context"):
        require_auth_context()


def test_within_the_block_it_is_this_one_and_then_the_one_before() -> None:
    with auth_context(ADA) as given:
        assert given is ADA
        with auth_context(BOB):
            assert require_auth_context() is BOB
        assert current_auth_context() is ADA
    assert current_auth_context() is None


def test_the_block_is_left_also_by_an_error() -> None:
    with pytest.raises(OSError, match="out"), auth_context(ADA):
        raise OSError("out")
    assert current_auth_context() is None


async def test_one_request_does_not_see_the_identity_of_another() -> None:
    async def request(context: AuthContext) -> AuthContext:
        store_auth_context(context)
        await asyncio.sleep(0)
        return require_auth_context()

    assert await asyncio.gather(request(ADA), request(BOB)) == [ADA, BOB]
    assert current_auth_context() is None


@pytest.mark.parametrize("value", [None, "ada", {"subject": "ada"}, Subject("ada")])
def test_only_an_auth_context_is_an_identity(value: Any) -> None:
    with pytest.raises(InvalidAuthContextValueError, match="AuthContext"):
        store_auth_context(value)
    with pytest.raises(InvalidAuthContextValueError), auth_context(value):
        pass
    assert current_auth_context() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", ""),
        ("subject", None),
        ("subject", 7),
        ("issuer", " "),
        ("issuer", None),
        ("tenant", ""),
        ("tenant", 3),
        ("roles", "admin"),
        ("roles", None),
        ("roles", {"admin", 1}),
        ("scopes", [""]),
        ("claims", ["a"]),
        ("claims", {1: "a"}),
        ("metadata", "a"),
    ],
)
def test_a_part_that_can_not_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidAuthContextValueError, match=name):
        AuthContext(**{"subject": "ada", "issuer": "here", name: value})


@pytest.mark.parametrize("name", ["", 5])
def test_a_subject_has_texts(name: Any) -> None:
    with pytest.raises(InvalidAuthContextValueError, match="display_name"):
        Subject("ada", name)


def test_a_text_is_the_id_of_a_subject_and_collections_are_frozen() -> None:
    roles, claims = ["admin"], {"email": "a@b"}
    context = AuthContext(subject="ada", issuer="here", roles=roles, claims=claims)
    roles.append("root")
    claims["email"] = "e@f"
    assert context.subject == Subject("ada")
    assert context.roles == {"admin"}
    assert context.claims == {"email": "a@b"}
    with pytest.raises(TypeError):
        context.claims["email"] = "x"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.roles = frozenset({"root"})  # type: ignore[misc]


def test_it_can_be_compared_hashed_and_changed_by_copy() -> None:
    twin = dataclasses.replace(ADA)
    assert twin == ADA
    assert len({twin, ADA, BOB}) == 2
    assert dataclasses.replace(ADA, tenant="looms").tenant == "looms"


def test_what_may_be_secret_is_not_shown() -> None:
    assert "ada" in repr(ADA)
    assert CREDENTIAL not in repr(ADA)
