"""The calls of a queue that have to do with flows."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from wopr.calls.present import present
from wopr.calls.signature import Step
from wopr.domain.checks import check_id
from wopr.domain.clock import naive_now
from wopr.domain.errors import QueueDisabledError
from wopr.flows.compile import compile_flow
from wopr.flows.flow import Flow, flow_of
from wopr.flows.handle import FlowHandle
from wopr.flows.members import members_of
from wopr.flows.reading import read_members
from wopr.queue.face import Face

R = TypeVar("R")


class Flows(Face):
    """Enqueue flows, and find them again."""

    @overload
    async def enqueue_flow(self, flow: Flow, *, connection: Any = None) -> FlowHandle[Any]: ...
    @overload
    async def enqueue_flow(self, flow: Step[R], *, connection: Any = None) -> FlowHandle[R]: ...
    async def enqueue_flow(
        self, flow: Flow | Step[Any], *, connection: Any = None
    ) -> FlowHandle[Any]:
        """Enqueue tasks that belong together, in one commit; returns once it is on disk.

        Args:
            flow: what ``chain``, ``group``, ``chord`` or ``task.map`` gave, one call
                ``task.s(…)``, or a :class:`Flow`. Up to 100,000 tasks.
            connection: of the application, in whose transaction they are enqueued; on PostgreSQL.

        Raises:
            InvalidCallError: a call is wrong, or the flow has a cycle; nothing was written.
            TaskNotFoundError: one depends on a task outside of the flow that nobody knows.
            QueueDisabledError: the queue is switched off.
            StorageError: the storage refused it.
        """
        if not self._core.enabled:
            raise QueueDisabledError
        await self._core.access.learn_time()
        flow_id = self._core.flow_ids.new(naive_now(self._core.time))
        tasks = compile_flow(flow_of(flow), self._core.new_task, flow_id)
        ids = await self._core.add_flow(tasks, present(connection))
        return FlowHandle(self._core, flow_id, members_of(tasks, ids))

    async def flow(self, flow_id: str) -> FlowHandle[Any]:
        """Return a handle for the id of a flow that was kept elsewhere.

        Raises:
            TaskNotFoundError: the queue does not know it (any more).
            QueueDisabledError: the queue is switched off.
        """
        known = check_id(flow_id)
        return FlowHandle(self._core, known, await read_members(self._core, known))
