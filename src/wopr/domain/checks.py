"""Check the names and ids of a call."""

from __future__ import annotations

from uuid import UUID

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown, type_name

LONGEST_NAME = 200
RIGHT_CALL = (
    'add_task("name", "category", TaskPriority.HIGH, 3, …) takes the category, the priority and '
    "max_retries before the function's own positional arguments; "
    'queue.enqueue("name", args=(…), kwargs={…}, priority=…) keeps them apart.'
)


def check_label(value: object, what: str, *, longest: int = LONGEST_NAME) -> str:
    """Return a name, a category or a key, if it can be one."""
    if not isinstance(value, str):
        raise InvalidCallError(
            f"{what} must be a str, not {type_name(value)} {shown(value)}. {RIGHT_CALL}"
        )
    text = str.__str__(value)  # what a subclass makes of itself is not stored
    if not text.strip() or len(text) > longest or "\x00" in text:
        raise InvalidCallError(
            f"{what} must have 1 to {longest} characters, without NUL; this one has {len(text)}: "
            f"{shown(text)}"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidCallError(f"{what} is not valid Unicode: {shown(text)}") from error
    return text


def check_id(task_id: object) -> str:
    """Return a task's id in its canonical form; a text that is no id is one nobody has."""
    if not isinstance(task_id, str):
        raise InvalidCallError(f"A task id is a str, not {type_name(task_id)} {shown(task_id)}.")
    text = str.__str__(task_id)
    try:
        return str(UUID(text))
    except ValueError:
        return text
