"""How much there is in a message, seen before it is parsed: nothing interrupts the parser."""

from __future__ import annotations

from wopr.domain.errors import PayloadTooLargeError

LARGE = 64 * 1024
"""Bytes: longer messages are read in a thread, so that the event loop goes on meanwhile."""
MANY = 1_000
"""So many tasks, or other things of a list, are checked in a thread."""
MOST_PARTS = 3_000_000
MOST_LISTS = 500_000
"""Values, and lists and objects among them, of one message: twice what a flow of 100,000 has."""
_SLICE = 64 * 1024


def check_parts(line: bytes) -> None:
    """Refuse a message of so many parts that to parse it would hold up the whole process.

    Raises:
        PayloadTooLargeError: it has more; nothing of it was parsed.
    """
    parts = lists = 0
    quoted, rest = False, b""
    for start in range(0, len(line), _SLICE):
        piece = rest + line[start : start + _SLICE]
        cut = (len(piece) - len(piece.rstrip(b"\\"))) % 2  # the sign that it escapes comes later
        rest, piece = piece[len(piece) - cut :], piece[: len(piece) - cut]
        texts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        plain = b"".join(texts[quoted::2])
        quoted = quoted != (len(texts) % 2 == 0)
        lists += plain.count(b"[") + plain.count(b"{")
        parts += plain.count(b",") + plain.count(b"[") + plain.count(b"{")
        if parts > MOST_PARTS or lists > MOST_LISTS:
            raise PayloadTooLargeError(
                f"This message of {len(line):,} bytes has more than {MOST_PARTS:,} values, or more "
                f"than {MOST_LISTS:,} lists and objects, so it was not read and nothing was "
                "carried out. Send it in parts: fewer tasks in one call, or fewer rules."
            )
