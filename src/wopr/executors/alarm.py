"""The soft timeout of a plain function in the main thread of a worker process."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from wopr.domain.errors import SoftTimeoutError

AGAIN_SECONDS = 0.01


def call_with_alarm(
    function: Callable[[], Any], seconds: float, text: str, busy: Callable[[], bool]
) -> Any:
    """Return what the function returns; raise ``SoftTimeoutError`` in it once its time is over.

    Args:
        function: without arguments.
        seconds: from now.
        text: of the error.
        busy: whether something is under way that must not be torn apart. Then, and while the
            function has not begun, the alarm rings again shortly after.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        here = frame is not None and frame.f_code is call_with_alarm.__code__
        if not here and not busy():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise SoftTimeoutError(text)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
        return function()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
