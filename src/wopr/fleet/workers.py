"""The workers of all hosts, as their leases and the tasks that run say."""

from __future__ import annotations

import json
from datetime import UTC

from wopr.fleet.fleet import Fleet
from wopr.ports.answers import WorkerInfo
from wopr.storage.postgres import statements


async def workers_of(fleet: Fleet) -> list[WorkerInfo]:
    """Return the workers of all hosts that hold a lease, by category and name."""
    connections = fleet.parts.store.connections
    running = {row[0]: row[1:] for row in await connections.rows(statements.RUNNING)}
    found = []
    for _, _, _, seen_at, slots in await connections.rows(statements.OWNERS):
        for category, names in json.loads(slots).items():
            for name in names:
                heartbeat = seen_at.astimezone(UTC)
                if name not in running:
                    one = WorkerInfo(name=name, category=category, heartbeat_at=heartbeat)
                else:
                    _, task_id, task, attempt, since = running[name]
                    since = None if since is None else since.replace(tzinfo=UTC)
                    one = WorkerInfo(
                        name=name,
                        category=category,
                        task_id=task_id,
                        task_name=task,
                        attempt=attempt,
                        since=since,
                        last_claim_at=since,
                        heartbeat_at=heartbeat,
                    )
                found.append(one)
    return sorted(found, key=lambda one: (one.category, one.name))
