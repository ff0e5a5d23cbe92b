"""A threaded program, as a Flask or Django application is, with no event loop of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from wopr import TaskQueue

queue = TaskQueue(enabled=True)


@queue.task(category="thumbnails")
def thumbnail(name: str) -> str:
    return f"{name}.small.png"


with queue.sync() as sync:  # in a web application: once per process, atexit.register(sync.close)
    sync(queue.start_workers, "thumbnails", 2)

    def handle_request(number: int) -> str:
        """Enqueue and wait, as a view would, in the server's own thread."""
        handle = sync(thumbnail.enqueue, f"photo{number}")
        return sync(handle.result, timeout=10)

    with ThreadPoolExecutor(8) as server:
        pictures = list(server.map(handle_request, range(100)))

    print(pictures[:3], "…", len(pictures))
    print(sync(queue.get_task_stats)["by_status"])
