"""The identity goes from the caller to the run, or the run does not happen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.identities import ADA, BOB, CREDENTIAL, KEY, SECRET, auth_with
from support.queues import SteppableClock
from wopr import AuthContextNotFoundError, AuthSnapshotUnavailableError
from wopr.auth import (
    Auth,
    AuthContext,
    AuthMetadata,
    AuthorizationDecision,
    Requirement,
    RequirementKind,
    auth_context,
    current_auth_context,
)
from wopr.auth.carrier import AuthCarrier
from wopr.domain.errors import TaskRefusedError
from wopr.domain.task import TaskRecord

ADMIN = AuthMetadata(protected=True, requirements=(Requirement(RequirementKind.ROLE, "admin"),))
READ = AuthMetadata(protected=True, requirements=(Requirement(RequirementKind.PERMISSION, "read"),))


def carrier(auth: Auth | None, metadata: AuthMetadata = ADMIN) -> AuthCarrier:
    return AuthCarrier("export", metadata, auth)


def record(args: str = "[1]", kwargs: str = "{}", name: str = "export") -> TaskRecord:
    return TaskRecord("id", name, "default", 1, 0, args, kwargs, datetime(2030, 5, 17))


def packed(auth: Auth, context: AuthContext = ADA) -> str:
    with auth_context(context):
        return carrier(auth).pack("export", "[1]", "{}")


async def refusal(
    auth: Auth | None,
    token: object,
    *,
    metadata: AuthMetadata = ADMIN,
    row: TaskRecord | None = None,
) -> TaskRefusedError:
    with pytest.raises(TaskRefusedError) as caught:
        await carrier(auth, metadata).unpack(row or record(), token)
    return caught.value


async def test_the_identity_of_the_caller_is_that_of_the_run() -> None:
    auth = auth_with()
    token = packed(auth)
    assert current_auth_context() is None
    await carrier(auth).unpack(record(), token)
    context = current_auth_context()
    assert context is not None
    assert context.subject == ADA.subject
    assert context.credential_carrier is None


def test_what_is_stored_is_a_text_without_credential() -> None:
    token = packed(auth_with())
    assert isinstance(token, str)
    assert CREDENTIAL not in token


@pytest.mark.parametrize(
    "auth",
    [None, Auth(), Auth(keys=[KEY]), Auth(snapshots=True)],
    ids=["none", "off", "off with keys", "no keys"],
)
def test_without_snapshots_nothing_protected_is_enqueued(auth: Auth | None) -> None:
    with (
        auth_context(ADA),
        pytest.raises(AuthSnapshotUnavailableError, match=r"Auth\(snapshots=True, keys=\["),
    ):
        carrier(auth).pack("export", "[1]", "{}")


def test_nobody_enqueues_nothing() -> None:
    with pytest.raises(AuthContextNotFoundError, match=r"'export'.*as_service"):
        carrier(auth_with()).pack("export", "[1]", "{}")


def test_a_service_may_enqueue() -> None:
    auth = auth_with(service_identities={"nightly": ADA})
    with auth.as_service("nightly"):
        assert carrier(auth).pack("export", "[1]", "{}")


@pytest.mark.parametrize(
    ("token", "row", "reason"),
    [
        (None, record(), "auth challenge: snapshot_missing"),
        ("x.y.z", record(), "auth challenge: snapshot_invalid"),
        (5, record(), "auth challenge: snapshot_invalid"),
        ("good", record(args="[2]"), "auth challenge: snapshot_invalid"),
        ("good", record(kwargs='{"to":"eve"}'), "auth challenge: snapshot_invalid"),
    ],
    ids=["missing", "nonsense", "number", "args", "kwargs"],
)
async def test_without_a_good_snapshot_it_does_not_run(
    token: object, row: TaskRecord, reason: str
) -> None:
    auth = auth_with()
    refused = await refusal(auth, packed(auth) if token == "good" else token, row=row)
    assert (reason, False) == (refused.reason, refused.retryable)
    assert current_auth_context() is None


async def test_a_result_of_a_task_can_not_be_put_in_the_place_of_a_signed_argument() -> None:
    auth = auth_with()
    row = record()
    row.options = '{"results": {"args": {"0": 0}}}'
    refused = await refusal(auth, packed(auth), row=row)
    assert refused.reason == "auth challenge: snapshot_invalid"


async def test_where_results_of_other_tasks_go_is_signed() -> None:
    auth = auth_with()
    with auth_context(ADA):
        token = carrier(auth).pack("export", "[null]", "{}", {"args": {"0": 0}})
    row = record("[null]")
    row.options = '{"results":{"args":{"0":0}}}'
    await carrier(auth).unpack(row, token)
    assert current_auth_context() is not None


async def test_a_snapshot_counts_for_one_task_only() -> None:
    auth = auth_with()
    other = AuthCarrier("delete", ADMIN, auth)
    with pytest.raises(TaskRefusedError, match="another call"):
        await other.unpack(record(name="delete"), packed(auth))


async def test_an_old_snapshot_does_not_run() -> None:
    clock = SteppableClock(datetime(2030, 1, 1, tzinfo=UTC))
    auth = auth_with(clock=clock, lifetime=timedelta(days=1))
    token = packed(auth)
    clock.advance(86_400 + 60)
    refused = await refusal(auth, token)
    assert ("auth challenge: snapshot_expired", False) == (refused.reason, refused.retryable)


async def test_who_may_not_does_not_run() -> None:
    auth = auth_with()
    refused = await refusal(auth, packed(auth, BOB))
    assert ("auth deny: insufficient_role", False) == (refused.reason, refused.retryable)
    assert "'bob'" in str(refused)


def _raise(*_: object) -> AuthorizationDecision:
    raise OSError("directory is down")


@pytest.mark.parametrize(
    ("auth", "metadata", "code"),
    [
        (lambda: None, ADMIN, "verification_provider_unavailable"),
        (Auth, ADMIN, "verification_provider_unavailable"),
        (auth_with, READ, "verification_provider_unavailable"),
        (lambda: auth_with(decide=_raise), READ, "internal_error"),
    ],
    ids=["no auth", "no keys", "no provider", "broken provider"],
)
async def test_what_can_not_be_told_does_not_run_and_may_be_tried_again(
    auth: Callable[[], Any], metadata: AuthMetadata, code: str
) -> None:
    refused = await refusal(auth(), packed(auth_with()), metadata=metadata)
    assert (f"auth error: {code}", True) == (refused.reason, refused.retryable)


async def test_a_worker_needs_keys_but_not_the_switch() -> None:
    token = packed(auth_with())
    await carrier(auth_with(snapshots=False)).unpack(record(), token)
    assert current_auth_context() is not None


async def test_a_provider_sees_the_identity_of_the_snapshot() -> None:
    seen: list[AuthContext | None] = []

    async def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        seen.extend([context, current_auth_context()])
        return AuthorizationDecision.allow()

    auth = auth_with(decide=decide)
    await carrier(auth, READ).unpack(record(), packed(auth, BOB))
    assert [BOB, BOB] == seen


async def test_no_refusal_shows_a_key_or_the_token() -> None:
    auth = auth_with()
    token = packed(auth)
    for row, bad in ((record(args="[2]"), token), (record(), token[:-4] + "AAAA")):
        refused = await refusal(auth, bad, row=row)
        assert SECRET not in str(refused)
        assert bad not in str(refused)
        assert refused.__suppress_context__
