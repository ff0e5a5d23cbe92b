"""What was previewed and may be carried out: once, soon, by the same asker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError

from wopr.domain.clock import Clock, new_identity

SECONDS = 600.0
"""So long a preview may be carried out."""
MOST = 200
"""So many are kept; then the oldest is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An act, as it was previewed."""

    asker: str
    verb: str
    about: dict[str, Any]
    """The selection, or what else it is about."""
    options: dict[str, Any]
    """Of the verb."""
    changes: int
    """So many tasks it would have changed."""
    until: float


class Proposals:
    """The proposals of one server.

    Args:
        clock: says how old they are.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._proposals: dict[str, Proposal] = {}

    def keep(self, **given: Any) -> str:
        """Keep a proposal; return the id by which it is carried out."""
        while len(self._proposals) >= MOST:
            del self._proposals[next(iter(self._proposals))]
        name = new_identity().hex()
        self._proposals[name] = Proposal(until=self._clock.monotonic() + SECONDS, **given)
        return name

    def take(self, name: str, asker: str) -> Proposal:
        """Return a proposal, which can't be taken a second time.

        Raises:
            ToolError: there is none that this asker may carry out now.
        """
        proposal = self._proposals.get(name)
        if proposal is None or proposal.asker != asker:
            raise ToolError(
                "There is no such proposal: it was carried out already, is of somebody else, or "
                "this server was started since. Call preview_act, and give the one it returns."
            )
        del self._proposals[name]
        if self._clock.monotonic() > proposal.until:
            raise ToolError(
                f"That preview is more than {SECONDS / 60:.0f} minutes old. Call preview_act again."
            )
        return proposal
