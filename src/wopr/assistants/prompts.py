"""Ready-made questions to an assistant that has the tools of a queue."""

from __future__ import annotations

from wopr.assistants.answers import NOTE


def why_does_nothing_run() -> str:
    """Find out why work does not flow, and what mends it."""
    return (
        "Find out why work does not flow in this queue. Ask status; for each reason that is not "
        "clear from its text, explain the category, name or task it is about. Then tell me in "
        "order of harm: what is held, since when, why, and the command that mends it. Change "
        "nothing. " + NOTE
    )


def what_fails(hours: str = "24") -> str:
    """Look into what failed lately, and what to do about it."""
    return (
        f"Look into what failed in the last {hours} hours. Ask failures; of each group look at the "
        "newest task with show_task: its traceback, its arguments, its log lines. Tell me for each "
        "group the likely cause, how often and since when, whether a retry can help, and which "
        "tasks it would be about. Change nothing. " + NOTE
    )


def explain_task(task_id: str) -> str:
    """Tell the life of one task: what happened to it, and why it stands where it stands."""
    return (
        f"Tell me the life of task {task_id}: ask show_task and explain. When was it enqueued, how "
        "long did it wait and for what, what came of each attempt, and why does it stand where it "
        "stands? " + NOTE
    )


PROMPTS = (why_does_nothing_run, what_fails, explain_task)
