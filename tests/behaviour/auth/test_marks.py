"""What marks say about a task, wherever they stand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from wopr import ConflictingAuthMetadataError, InvalidCallError
from wopr.auth import (
    AuthMetadata,
    Requirement,
    RequirementKind,
    protected,
    public_access,
    require_permission,
    require_policy,
    require_relation,
    require_role,
    require_scope,
    requirements_of,
)
from wopr.auth.metadata import close_marks

ADMIN = Requirement(RequirementKind.ROLE, "admin")
WRITE = Requirement(RequirementKind.SCOPE, "write")


def asked(*requirements: Requirement) -> AuthMetadata:
    return AuthMetadata(protected=True, requirements=requirements)


def plain() -> None: ...


def test_a_function_without_marks_asks_for_nothing() -> None:
    assert requirements_of(plain) == AuthMetadata()


def test_four_marks_may_name_a_tenant() -> None:
    @require_role("admin", tenant="engines")
    @require_permission("read", tenant="engines")
    @require_policy("reports", "export", tenant="engines")
    @require_relation("owner", resource="reports", tenant="engines")
    def task() -> None: ...

    kinds = [one.kind for one in requirements_of(task).requirements]
    assert [
        RequirementKind.ROLE,
        RequirementKind.PERMISSION,
        RequirementKind.POLICY,
        RequirementKind.RELATION,
    ] == kinds
    assert {"engines"} == {one.tenant for one in requirements_of(task).requirements}


@pytest.mark.parametrize(
    "mark",
    [
        lambda tenant: require_role("admin", tenant=tenant),
        lambda tenant: require_permission("read", tenant=tenant),
        lambda tenant: require_policy("reports", "export", tenant=tenant),
        lambda tenant: require_relation("owner", resource="reports", tenant=tenant),
    ],
    ids=["role", "permission", "policy", "relation"],
)
@pytest.mark.parametrize("tenant", ["", " ", 1, plain])
def test_a_tenant_is_a_text(mark: Callable[[Any], Any], tenant: Any) -> None:
    with pytest.raises(InvalidCallError, match="needs a tenant: a text that is not empty"):
        mark(tenant)


def test_each_mark_says_what_it_says() -> None:
    @protected
    @require_role("admin")
    @require_scope("write")
    @require_permission("read")
    @require_permission("read", resource="reports", tenant="engines")
    @require_policy("reports", "export")
    @require_relation("owner", resource="reports")
    def task() -> None: ...

    assert requirements_of(task) == asked(
        ADMIN,
        WRITE,
        Requirement(RequirementKind.PERMISSION, "read"),
        Requirement(RequirementKind.PERMISSION, "read", resource="reports", tenant="engines"),
        Requirement(RequirementKind.POLICY, "reports:export", resource="reports", action="export"),
        Requirement(RequirementKind.RELATION, "owner", resource="reports"),
    )


def test_marks_leave_the_function_as_it_is() -> None:
    def task() -> str:
        return "done"

    assert protected(task) is task
    assert require_role("admin")(task) is task
    assert task() == "done"


@pytest.mark.parametrize(
    ("mark", "expected"),
    [(protected, asked()), (public_access, AuthMetadata(public_access=True))],
)
def test_protected_and_public_access_have_no_requirements(
    mark: Callable[[Any], Any], expected: AuthMetadata
) -> None:
    assert requirements_of(mark(lambda: None)) == expected


def test_the_same_requirement_counts_once() -> None:
    @require_role("admin")
    class Handler:
        @require_scope("write")
        @require_role("admin")
        def run(self) -> None: ...

    assert requirements_of(Handler.run, Handler) == asked(ADMIN, WRITE)


def test_marks_of_the_class_and_its_bases_count_for_its_methods() -> None:
    @protected
    class Base:
        def run(self) -> None: ...

    @require_role("admin")
    class Handler(Base): ...

    assert requirements_of(Base.run, Base) == asked()
    assert requirements_of(Base.run, Handler) == asked(ADMIN)
    assert requirements_of(Handler().run) == asked(ADMIN), "a bound method knows its class"


def test_the_mark_of_a_class_does_not_reach_its_base() -> None:
    class Base:
        def run(self) -> None: ...

    @protected
    class Handler(Base): ...

    assert requirements_of(Base.run, Base) == AuthMetadata()
    assert requirements_of(Handler.run, Handler) == asked()


class Static:
    @require_role("admin")
    @staticmethod
    def outside() -> None: ...

    @staticmethod
    @require_role("admin")
    def inside() -> None: ...

    @require_role("admin")
    @classmethod
    def of_class(cls) -> None: ...


@pytest.mark.parametrize("function", [Static.outside, Static.inside, Static.of_class])
def test_static_and_class_methods_are_marked_on_either_side(function: Any) -> None:
    assert requirements_of(function) == asked(ADMIN)


def wrapped_in_more() -> Any:
    @functools.wraps(plain_admin)
    def outer() -> None: ...

    return require_scope("write")(outer)


@require_role("admin")
def plain_admin() -> None: ...


@require_role("admin")
class Called:
    @require_scope("write")
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (functools.partial(plain_admin), asked(ADMIN)),
        (functools.partial(functools.partial(plain_admin)), asked(ADMIN)),
        (require_scope("write")(functools.partial(plain_admin)), asked(WRITE, ADMIN)),
        (wrapped_in_more(), asked(WRITE, ADMIN)),
        (Called(), asked(ADMIN, WRITE)),
        (Called, asked(ADMIN)),
        (print, AuthMetadata()),
        (None, AuthMetadata()),
    ],
    ids=[
        "partial",
        "partial of partial",
        "marked partial",
        "wraps",
        "object",
        "class",
        "builtin",
        "nothing",
    ],
)
def test_marks_are_found_below_what_wraps_them(function: Any, expected: AuthMetadata) -> None:
    assert requirements_of(function) == expected


def test_marking_a_wrapper_does_not_mark_what_it_wraps() -> None:
    def inner() -> None: ...

    outer = functools.wraps(inner)(lambda: None)
    protected(outer)
    assert requirements_of(inner) == AuthMetadata()


@pytest.mark.parametrize("mark", [protected, require_role("admin")])
def test_public_and_anything_else_is_a_conflict(mark: Callable[[Any], Any]) -> None:
    task = public_access(mark(lambda: None))
    with pytest.raises(ConflictingAuthMetadataError, match="public_access"):
        requirements_of(task)


def test_a_public_method_in_a_protected_class_is_a_conflict_that_names_both() -> None:
    @require_role("admin")
    class Handler:
        @public_access
        def run(self) -> None: ...

    with pytest.raises(ConflictingAuthMetadataError, match=r"Handler\.run.*role 'admin'"):
        requirements_of(Handler.run, Handler)


@pytest.mark.parametrize(
    ("mark", "arguments"),
    [
        (require_role, (plain,)),
        (require_role, ("",)),
        (require_scope, (None,)),
        (require_permission, (plain,)),
        (require_permission, ("read", "")),
        (require_permission, ("read", "reports", 5)),
        (require_policy, ("reports", None)),
        (require_policy, (" ", "export")),
    ],
)
def test_a_mark_without_its_words_is_refused(
    mark: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(InvalidCallError, match=f"@{mark.__name__} needs"):
        mark(*arguments)


def test_a_relation_needs_its_resource() -> None:
    with pytest.raises(InvalidCallError, match="@require_relation needs a resource"):
        require_relation("owner", resource="")


@pytest.mark.parametrize("target", [5, "run", print, Static().of_class, property(plain)])
def test_what_can_not_hold_a_mark_is_refused(target: Any) -> None:
    with pytest.raises(InvalidCallError, match="can't"):
        protected(target)


def test_a_mark_after_registration_is_refused_and_shows_the_order() -> None:
    def task() -> None: ...

    close_marks(task)
    with pytest.raises(InvalidCallError, match=r"(?s)registered.*@queue\.task\n.*@protected"):
        protected(task)
    assert requirements_of(task) == AuthMetadata()


def test_closing_reaches_what_a_partial_or_a_method_calls() -> None:
    class Handler:
        def run(self) -> None: ...

    def task() -> None: ...

    close_marks(functools.partial(task))
    close_marks(Handler().run)
    for target in (task, Handler.run):
        with pytest.raises(InvalidCallError, match="registered"):
            protected(target)


def test_closing_a_class_leaves_its_base_and_its_subclasses_open() -> None:
    class Base: ...

    class Handler(Base):
        def run(self) -> None: ...

    close_marks(Handler.run, Handler)
    with pytest.raises(InvalidCallError, match="registered"):
        protected(Handler)

    class Later(Handler): ...

    assert protected(Later) is Later
    assert protected(Base) is Base


def test_what_takes_no_marks_can_be_closed() -> None:
    close_marks(print)
    close_marks(len, int)
