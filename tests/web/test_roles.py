"""What a role may."""

from __future__ import annotations

import pytest

from wopr.web.guard.roles import Role


@pytest.mark.parametrize(
    ("has", "allowed"),
    [
        (Role.READ, {Role.READ}),
        (Role.OPERATE, {Role.READ, Role.OPERATE}),
        (Role.ADMIN, {Role.READ, Role.OPERATE, Role.ADMIN}),
    ],
)
def test_a_role_may_what_those_before_it_may(has: Role, allowed: set[Role]) -> None:
    assert allowed == {needed for needed in Role if has.allows(needed)}
