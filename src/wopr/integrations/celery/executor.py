"""``executor=CeleryExecutor(app)``: functions run on a Celery cluster, all else stays wopr's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from celery import Celery

from wopr.domain.checks import check_seconds
from wopr.domain.clock import Clock, IdFactory, SystemClock, naive_now
from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import guarded, safe_text, type_name
from wopr.domain.jsontext import shown
from wopr.executors.call import Call
from wopr.executors.cluster import Cluster
from wopr.executors.context import CurrentTask
from wopr.integrations.celery.mailbox import Mailbox, ResultBackend, attempt_id
from wopr.integrations.celery.messages import LONGEST_LEASE, body_of
from wopr.integrations.celery.sending import Sending
from wopr.integrations.celery.watch import Post, Watch

LEASE_SECONDS = 15.0
BEGIN_SECONDS = 600.0
HARD_SECONDS = 5.0
"""So long after a task's timeout its process is killed there, should nobody here do it."""
PING_SECONDS = 1.0
RETRIES = {"max_retries": 2, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
"""Of one message that the broker does not take; then the task waits."""

Route = str | Mapping[str, Any] | None
Routes = Callable[[CurrentTask], Route]


class CeleryExecutor(Cluster):
    """Runs functions on the workers of a Celery app, which have them by ``register``.

    The claim, the history, limits, retries and results stay wopr's: a message is one attempt.

    Args:
        app: with a broker, and a result backend that this process can look into.
        queue_of: says where a task goes: the name of a Celery queue, a dict of options of
            ``send_task`` (``queue``, ``exchange``, ``routing_key``, ``priority``), or ``None`` for
            Celery's own routes. Without it the queue is called like the task's category.
        lease: seconds without a sign of life after which a Celery worker counts as dead; it gives
            one three times as often. A dead one fails the attempt with ``ProcessDiedError``.
        begin_within: seconds within which a message has to begin; then it is taken back, and the
            task waits, which costs no retry.
        terminate: whether the process of a function that is stopped is killed (prefork only); a
            function elsewhere looks at ``current_task().cancelled``.
        mailbox: where workers leave word; ``None`` means the app's result backend. Workers need
            the same: ``register(app, queue, mailbox=…)``.
        clock: measures silence.

    Raises:
        InvalidCallError: a value can't be what it has to be, or there is no such backend.
    """

    def __init__(
        self,
        app: Celery,
        *,
        queue_of: Routes | None = None,
        lease: float = LEASE_SECONDS,
        begin_within: float = BEGIN_SECONDS,
        terminate: bool = True,
        mailbox: Mailbox | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(app, Celery):
            raise InvalidCallError(f"CeleryExecutor() takes a Celery app, not {shown(app)}.")
        if queue_of is not None and not callable(queue_of):
            raise InvalidCallError(
                f"queue_of= is a function of a task, like lambda task: task.category, not "
                f"{shown(queue_of)}."
            )
        self.app = app
        self.lease = check_seconds(lease, "lease", zero="refuse")
        if self.lease > LONGEST_LEASE:
            raise InvalidCallError(f"lease={lease:g} is more than a day ({LONGEST_LEASE:g} s).")
        self.begin_within = check_seconds(begin_within, "begin_within", zero="refuse")
        self.terminate = bool(terminate)
        if mailbox is None:
            ResultBackend.check(app)
        self.mailbox: Mailbox = mailbox or ResultBackend(app)
        self.clock = clock or SystemClock()
        self._queue_of = queue_of
        self._watch = Watch(self.mailbox, self.clock)
        self._post = Post()
        self._ids = IdFactory()

    def __repr__(self) -> str:
        return f"<CeleryExecutor {self.app.main}>"

    def send(self, call: Call) -> Sending:
        """Send a call as a message, and look from now on what becomes of it."""
        task = call.context
        own = self._ids.new(naive_now(self.clock)).rpartition("-")[2]
        id = f"{task.id}.{task.attempt}.{own}"  # an attempt that was not taken is sent again
        sending = Sending(self, call, id)
        if self.app.conf.task_always_eager:
            threading.Thread(target=sending.run_here, name="wopr-celery-eager", daemon=True).start()
        else:
            self._post.put(lambda: self._publish(sending))
        return sending

    def _publish(self, sending: Sending) -> None:
        if sending.future.cancelled() or sending.over:
            return
        call = sending.call
        try:
            args, kwargs = body_of(call)
            route = self.route(call.context)
        except Exception as error:  # noqa: BLE001 - a route is a function of the application
            sending.fail(error)
            return
        if call.context.attempt > 1:  # the process that sent the last one may have been killed
            last = attempt_id(call.context.id, call.context.attempt - 1)
            self._quietly(lambda: self.mailbox.stop(last))
        limit = {} if call.timeout is None else {"time_limit": call.timeout + HARD_SECONDS}
        try:
            self.app.send_task(
                call.context.name,
                args=args,
                kwargs=kwargs,
                task_id=sending.id,
                headers=sending.headers,
                serializer="json",
                expires=self.begin_within,
                ignore_result=True,  # its worker leaves word itself, and nobody subscribes to it
                add_to_parent=False,
                retry=True,
                retry_policy=RETRIES,
                **limit,
                **route,
            )
        except Exception as error:  # noqa: BLE001 - whatever a broker raises while it is away
            sending.refuse(f"the broker did not take its message: {_said(error)}")
            return
        sending.sent(self.clock.monotonic())
        self._watch.add(sending)

    def route(self, task: CurrentTask) -> dict[str, Any]:
        """Return where a task goes, as options of ``send_task``.

        Raises:
            InvalidCallError: ``queue_of`` returned something else.
        """
        route = task.category if self._queue_of is None else self._queue_of(task)
        if route is None:
            return {}
        if isinstance(route, str):
            return {"queue": route}
        if isinstance(route, Mapping):
            return dict(route)
        raise InvalidCallError(
            f"queue_of= of {self!r} said {shown(route)} for task {task.name!r}: it is the name of "
            "a Celery queue, a dict like {'queue': 'mail', 'priority': 3}, or None."
        )

    def forget(self, id: str) -> None:
        """Drop what is known of a call that is over."""
        self._post.put(lambda: self._quietly(lambda: self.mailbox.forget(id)))

    def revoke(self, id: str, *, begun: bool) -> Future[None]:
        """Tell all workers that a call is not to begin, and the one that runs it to stop."""
        told: Future[None] = Future()

        def tell() -> None:
            self._quietly(lambda: self.mailbox.stop(id))
            kill = {"terminate": True, "signal": "SIGTERM"} if begun and self.terminate else {}
            self._quietly(lambda: self.app.control.revoke(id, **kill))
            guarded(lambda: told.set_result(None), None)

        self._post.put(tell)
        return told

    @staticmethod
    def _quietly(work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the broker or the backend is away
            Sending.log_unreached(_said(error))

    def refusal(self) -> str | None:
        """Return why nothing would be taken: no broker, or no worker that answers."""
        try:
            with self.app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=PING_SECONDS)
            if self.app.control.ping(timeout=PING_SECONDS):
                return None
        except NotImplementedError:  # a transport without broadcasts: nobody can be asked
            return None
        except Exception as error:  # noqa: BLE001 - whatever a broker raises while it is away
            return f"its broker can't be reached: {_said(error)}"
        return (
            "no Celery worker answers. Start one for the queues that it sends to: "
            f"celery -A {self.app.main or 'app'} worker -Q …"
        )


def _said(error: BaseException) -> str:
    return f"{type_name(error)}: {safe_text(error)}"
