"""What listens on a port."""

from __future__ import annotations

import socket

from wopr.service.listening import listen_on


def test_what_is_answered_on_a_connection_is_sent_at_once() -> None:
    with listen_on("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()):
            connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
