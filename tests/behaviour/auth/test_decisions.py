"""Who may run what. Whatever goes wrong is closed, never open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.identities import ADA, BOB
from wopr import AuthRequirementDeniedError, InvalidCallError
from wopr.auth import (
    Auth,
    AuthContext,
    AuthMetadata,
    AuthorizationDecision,
    DecisionKind,
    ReasonCode,
    Requirement,
    RequirementKind,
    auth_context,
    authorize,
    authorize_sync,
    check,
    ensure_allowed,
    ensure_allowed_sync,
    protected,
    require_permission,
    require_policy,
    require_relation,
    require_role,
    require_scope,
    requirements_of,
)

ALLOW = AuthorizationDecision.allow()
DENY = AuthorizationDecision.deny(reason="not today")
Ask = Callable[[AuthMetadata, AuthContext | None, Auth | None], Awaitable[AuthorizationDecision]]


async def _sync(
    metadata: AuthMetadata, context: AuthContext | None, auth: Auth | None
) -> AuthorizationDecision:
    return authorize_sync(metadata, context, auth)


@pytest.fixture(params=[authorize, _sync], ids=["async", "sync"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


def asking(*marks: Callable[[Any], Any]) -> AuthMetadata:
    def task() -> None: ...

    for mark in reversed(marks):
        task = mark(task)
    return requirements_of(task)


def outcome(decision: AuthorizationDecision) -> tuple[str, str]:
    return decision.kind.value, decision.reason_code.value


CLOSED = ("error", "verification_provider_unavailable")
BROKEN = ("error", "internal_error")


async def test_what_is_not_protected_needs_nobody(ask: Ask) -> None:
    assert (await ask(AuthMetadata(), None, None)).allowed
    assert (await ask(AuthMetadata(public_access=True), None, None)).allowed


async def test_protected_needs_somebody(ask: Ask) -> None:
    metadata = asking(protected)
    assert outcome(await ask(metadata, None, Auth())) == ("challenge", "missing_credential")
    assert outcome(await ask(metadata, BOB, Auth())) == ("allow", "authorized")


async def test_without_configuration_everything_protected_is_closed(ask: Ask) -> None:
    assert outcome(await ask(asking(protected), ADA, None)) == CLOSED
    assert outcome(await ask(asking(require_role("admin")), None, None)) == CLOSED


async def test_roles_and_scopes_are_those_of_the_identity(ask: Ask) -> None:
    role, scope = asking(require_role("admin")), asking(require_scope("reports:write"))
    assert (await ask(role, ADA, Auth())).allowed
    assert (await ask(scope, ADA, Auth())).allowed
    assert outcome(await ask(role, BOB, Auth())) == ("deny", "insufficient_role")
    assert outcome(await ask(scope, BOB, Auth())) == ("deny", "insufficient_scope")
    assert outcome(await ask(role, None, Auth())) == ("challenge", "missing_credential")


@pytest.mark.parametrize(
    ("of_identity", "expected"),
    [("engines", "allow"), ("wings", "deny"), (None, "deny"), ("Engines", "deny")],
)
async def test_a_role_in_a_tenant_is_that_of_an_identity_of_the_tenant(
    ask: Ask, of_identity: str | None, expected: str
) -> None:
    context = AuthContext(subject="eve", issuer="test", tenant=of_identity, roles={"admin"})
    decision = await ask(asking(require_role("admin", tenant="engines")), context, Auth())
    assert expected == decision.kind.value
    if of_identity == "wings":
        assert "in tenant 'wings' lacks the role 'admin' in tenant 'engines'" in decision.reason


async def test_a_provider_is_told_the_tenant(ask: Ask) -> None:
    seen: list[str | None] = []

    def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        seen.append(requirement.tenant)
        return ALLOW

    metadata = asking(
        require_role("admin", tenant="a"),
        require_permission("read", tenant="b"),
        require_policy("reports", "export", tenant="c"),
        require_relation("owner", resource="reports", tenant="d"),
    )
    auth = Auth(providers={RequirementKind.ROLE: decide}, decide=decide)
    assert (await ask(metadata, ADA, auth)).allowed
    assert ["a", "b", "c", "d"] == seen


async def test_names_are_compared_exactly(ask: Ask) -> None:
    for name in ("Admin", "adm", "admin ", "admin*"):
        assert not (await ask(asking(require_role(name)), ADA, Auth())).allowed


async def test_a_denial_says_who_lacks_what(ask: Ask) -> None:
    decision = await ask(asking(require_role("owner")), ADA, Auth())
    assert "'ada'" in decision.reason
    assert "the role 'owner'" in decision.reason


async def test_every_requirement_must_hold(ask: Ask) -> None:
    both = asking(require_role("admin"), require_scope("none"))
    assert outcome(await ask(both, ADA, Auth())) == ("deny", "insufficient_scope")
    swapped = asking(require_scope("none"), require_role("admin"))
    assert outcome(await ask(swapped, ADA, Auth())) == ("deny", "insufficient_scope")
    held = asking(protected, require_role("admin"), require_role("editor"))
    assert (await ask(held, ADA, Auth())).allowed


async def test_the_first_refusal_in_reading_order_is_the_answer(ask: Ask) -> None:
    asked: list[str] = []

    def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        asked.append(requirement.ref)
        return DENY if requirement.ref == "two" else ALLOW

    metadata = asking(*(require_permission(name) for name in ("one", "two", "three")))
    assert await ask(metadata, ADA, Auth(decide=decide)) is DENY
    assert asked == ["one", "two"]


NEEDING = [
    pytest.param(require_permission("read"), id="permission"),
    pytest.param(require_policy("reports", "export"), id="policy"),
    pytest.param(require_relation("owner", resource="reports"), id="relation"),
]


@pytest.mark.parametrize("mark", NEEDING)
async def test_what_nothing_decides_is_closed(ask: Ask, mark: Callable[[Any], Any]) -> None:
    decision = await ask(asking(mark), ADA, Auth())
    assert outcome(decision) == CLOSED
    assert "Auth(providers=" in decision.reason


@pytest.mark.parametrize("mark", NEEDING)
async def test_one_function_can_decide_all_of_them(ask: Ask, mark: Callable[[Any], Any]) -> None:
    def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        return ALLOW if context is ADA else DENY

    auth = Auth(decide=decide)
    assert (await ask(asking(mark), ADA, auth)).allowed
    assert await ask(asking(mark), BOB, auth) is DENY


async def test_a_provider_of_a_kind_comes_first_and_gets_the_whole_requirement(ask: Ask) -> None:
    seen: list[Requirement] = []

    def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        seen.append(requirement)
        return ALLOW

    def never(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        raise AssertionError(requirement)

    auth = Auth(providers={RequirementKind.PERMISSION: decide}, decide=never)
    metadata = asking(require_permission("read", resource="reports", tenant="engines"))
    assert (await ask(metadata, ADA, auth)).allowed
    assert list(metadata.requirements) == seen


async def test_roles_are_left_to_the_identity_unless_they_have_a_provider(ask: Ask) -> None:
    metadata = asking(require_role("admin"))
    assert (await ask(metadata, ADA, Auth(decide=lambda *_: DENY))).allowed
    assert await ask(metadata, ADA, Auth(providers={RequirementKind.ROLE: lambda *_: DENY})) is DENY


def raising(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
    raise OSError("directory is down")


@pytest.mark.parametrize("answer", [True, 1, None, "ALLOW", DecisionKind.ALLOW])
async def test_what_is_no_decision_is_closed(ask: Ask, answer: Any) -> None:
    auth = Auth(decide=lambda *_: answer)
    decision = await ask(asking(require_permission("read")), ADA, auth)
    assert outcome(decision) == BROKEN
    assert "AuthorizationDecision.allow()" in decision.reason


async def test_a_decision_of_an_unknown_kind_is_closed(ask: Ask) -> None:
    strange = AuthorizationDecision("allow", ReasonCode.AUTHORIZED)  # type: ignore[arg-type]
    assert not strange.allowed
    auth = Auth(decide=lambda *_: strange)
    assert outcome(await ask(asking(require_permission("read")), ADA, auth)) == BROKEN


async def test_a_provider_that_raises_is_closed_and_says_why(ask: Ask) -> None:
    decision = await ask(asking(require_permission("read")), ADA, Auth(decide=raising))
    assert outcome(decision) == BROKEN
    assert "OSError: directory is down" in decision.reason


async def test_a_provider_may_be_a_coroutine_function() -> None:
    async def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        return ALLOW if context is ADA else DENY

    metadata, auth = asking(require_permission("read")), Auth(decide=decide)
    assert (await authorize(metadata, ADA, auth)).allowed
    assert await authorize(metadata, BOB, auth) is DENY


async def test_a_coroutine_that_raises_or_returns_something_else_is_closed() -> None:
    async def broken(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        return raising(requirement, context)

    async def true(requirement: Requirement, context: AuthContext) -> Any:
        return True

    for decide in (broken, true):
        decision = await authorize(asking(require_permission("x")), ADA, Auth(decide=decide))
        assert outcome(decision) == BROKEN


def test_a_direct_sync_call_can_not_wait_for_a_provider() -> None:
    async def decide(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
        return ALLOW

    decision = authorize_sync(asking(require_permission("read")), ADA, Auth(decide=decide))
    assert outcome(decision) == BROKEN
    assert "execute_async" in decision.reason


@pytest.mark.parametrize("kind", list(DecisionKind))
def test_only_allow_is_true(kind: DecisionKind) -> None:
    decision = AuthorizationDecision(kind, ReasonCode.INTERNAL_ERROR)
    assert bool(decision) is decision.allowed is (kind is DecisionKind.ALLOW)


def test_decisions_are_made_by_their_names() -> None:
    code = ReasonCode.POLICY_DENIED
    assert AuthorizationDecision.allow().reason_code is ReasonCode.AUTHORIZED
    made = [
        AuthorizationDecision.allow(code, "why"),
        AuthorizationDecision.challenge(code, "why"),
        AuthorizationDecision.deny(code, "why"),
        AuthorizationDecision.error(code, "why"),
    ]
    assert [AuthorizationDecision(kind, code, "why") for kind in DecisionKind] == made


async def test_checking_raises_with_the_decision() -> None:
    with pytest.raises(AuthRequirementDeniedError, match="auth deny: insufficient_role") as caught:
        await check(asking(require_role("owner")), ADA, Auth())
    assert caught.value.decision.kind is DecisionKind.DENY
    await check(asking(require_role("admin")), ADA, Auth())


@require_role("admin")
class Handler:
    @require_scope("reports:write")
    def run(self) -> None: ...


async def test_a_direct_call_is_checked_for_the_identity_that_is_there() -> None:
    with auth_context(ADA):
        ensure_allowed_sync(Handler.run, Handler, Auth())
        await ensure_allowed(Handler.run, Handler, Auth())
    for context, code in ((BOB, ReasonCode.INSUFFICIENT_ROLE),):
        with auth_context(context):
            with pytest.raises(AuthRequirementDeniedError) as denied:
                await ensure_allowed(Handler.run, Handler, Auth())
            with pytest.raises(AuthRequirementDeniedError):
                ensure_allowed_sync(Handler.run, Handler, Auth())
        assert denied.value.decision.reason_code is code
    with pytest.raises(AuthRequirementDeniedError, match="missing_credential"):
        ensure_allowed_sync(Handler.run, Handler, Auth())


async def test_a_direct_call_of_what_is_not_protected_needs_no_configuration() -> None:
    def task() -> None: ...

    ensure_allowed_sync(task, None, None)
    await ensure_allowed(task, None, None)


def test_work_that_nobody_asks_for_runs_as_a_service() -> None:
    auth = Auth(service_identities={"reports": BOB})
    with auth.as_service("reports") as context:
        assert context is BOB
        ensure_allowed_sync(protected(lambda: None), None, auth)
    with pytest.raises(InvalidCallError, match="'report'; declared are 'reports'"):
        auth.service_identity("report")
    with pytest.raises(InvalidCallError, match="declared are none"), Auth().as_service("x"):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"claims": "email"}, "claims="),
        ({"claims": (1,)}, "claims="),
        ({"providers": {"roles": print}}, "role, scope, permission, policy, relation"),
        ({"providers": {"role": "admin"}}, "must be a function"),
        ({"decide": True}, "decide= must be a function"),
        ({"service_identities": {"reports": "bob"}}, "AuthContexts by name"),
        ({"service_identities": {1: BOB}}, "AuthContexts by name"),
        ({"lifetime": 60}, "lifetime must be a timedelta"),
        ({"clock_skew": "1"}, "clock_skew must be a timedelta"),
        ({"keys": ["secret-text"]}, "SigningKey objects, not str"),
    ],
)
def test_a_configuration_that_can_not_be_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InvalidCallError, match=message) as caught:
        Auth(**options)
    assert "secret-text" not in str(caught.value)


async def test_a_kind_may_be_written_as_text(ask: Ask) -> None:
    auth = Auth(providers={"permission": lambda *_: DENY})  # type: ignore[dict-item]
    assert await ask(asking(require_permission("read")), ADA, auth) is DENY
