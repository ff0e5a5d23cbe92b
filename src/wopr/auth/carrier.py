"""Takes the caller's identity along to the run of a protected task, and checks it there."""

from __future__ import annotations

from typing import Any

from wopr.auth.checking import NOT_CONFIGURED, check
from wopr.auth.config import Auth
from wopr.auth.context import AuthContext, current_auth_context, store_auth_context
from wopr.auth.metadata import AuthMetadata
from wopr.auth.snapshot import Call
from wopr.domain.authorization import DecisionKind
from wopr.domain.errors import (
    AuthContextNotFoundError,
    AuthRequirementDeniedError,
    AuthSnapshotUnavailableError,
    TaskRefusedError,
)
from wopr.domain.snapshot import decode_options
from wopr.domain.task import TaskRecord


class AuthCarrier:
    """One protected task's carrier.

    Args:
        name: of the task.
        metadata: what it asks for.
        auth: the queue's configuration; ``None`` refuses every call and every run.
    """

    key = "auth"

    def __init__(self, name: str, metadata: AuthMetadata, auth: Auth | None) -> None:
        self._name = name
        self._metadata = metadata
        self._auth = auth

    def pack(self, name: str, args: str, kwargs: str, results: object = None) -> str:
        """Return a signed snapshot of the caller's identity, bound to this call.

        Raises:
            AuthSnapshotUnavailableError: snapshots are off, or can't be signed.
            AuthContextNotFoundError: nobody is known here.
            InvalidAuthContextValueError: the identity can't be put in a snapshot.
        """
        auth = self._auth
        if auth is None or not auth.snapshots_enabled or not len(auth.keys):
            raise AuthSnapshotUnavailableError(
                f"Task {name!r} is protected. To be enqueued it takes a signed snapshot of the "
                "caller's identity along, which "
                + ("has no key" if auth and auth.snapshots_enabled else "is off")
                + '. Switch it on: TaskQueue(auth=Auth(snapshots=True, keys=[SigningKey("id", '
                "secret)]))."
            )
        context = current_auth_context()
        if context is None:
            raise AuthContextNotFoundError(
                f"Task {name!r} is protected and nobody is known where it is enqueued. "
                "Authenticate first: store_auth_context(…) or 'with auth_context(…):'; for work "
                "that nobody asks for, 'with auth.as_service(\"name\"):'."
            )
        return auth.snapshots.sign(context, Call(name, args, kwargs, results))

    async def unpack(self, record: TaskRecord, packed: Any | None) -> None:
        """Make the snapshot's identity the current one, if the task may run for it.

        Raises:
            TaskRefusedError: it may not, or that can't be found out; only then is it worth a
                retry.
        """
        try:
            context = self._verified(record, packed)
            store_auth_context(context)
            await check(self._metadata, context, self._auth)
        except AuthRequirementDeniedError as denied:
            decision = denied.decision
            raise TaskRefusedError(
                f"Task {self._name!r} was not run, {decision}. {decision.reason}".rstrip(),
                reason=str(decision),
                retryable=decision.kind is DecisionKind.ERROR,
            ) from None

    def _verified(self, record: TaskRecord, packed: object) -> AuthContext:
        if self._auth is None:
            raise AuthRequirementDeniedError(NOT_CONFIGURED)
        results = decode_options(record.options).get("results") if record.options else None
        call = Call(self._name, record.args, record.kwargs, results)
        return self._auth.snapshots.verify(packed, call)
