"""The page about Django, from ``django-admin startproject`` on, word by word."""

from __future__ import annotations

import re
from pathlib import Path

import django
import pytest

from support.blocks import Block, blocks_of, commands_of
from support.paths import ROOT
from support.programs import run_ok
from support.queues import PATIENCE
from support.workers import read_until, worker
from wopr import TaskQueue

PAGE = ROOT / "docs" / "guides" / "frameworks.md"
FIVE = (
    "from django.tasks import task  # with Django 5: from django_tasks import task",
    "from django_tasks import task",
)


def shown() -> tuple[Block, Block, Block]:
    """Return the blocks: making the project, its files, running it."""
    blocks = blocks_of(PAGE)
    at = next(i for i, one in enumerate(blocks) if "startproject" in one.text)
    make, files, run = blocks[at : at + 3]
    return make, files, run


def put(files: Block, project: Path) -> None:
    """Write the files of a block where it says; what is there already gets longer."""
    parts = re.split(r"^# (shop/\w+\.py)\n", files.text, flags=re.MULTILINE)
    assert "" == parts[0]
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        if django.VERSION < (6,) and name == "shop/tasks.py":
            assert FIVE[0] in text
            text = text.replace(*FIVE)  # noqa: PLW2901
        with (project / name).open("a", encoding="utf-8") as file:
            file.write("\n" + text)


async def test_the_page_of_django_did_not_work_from_startproject_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, files, run = shown()
    run_ok(["bash", "-euc", commands_of(make)], tmp_path)
    project = tmp_path / "shop"
    put(files, project)

    export, work, enqueue, look = commands_of(run).splitlines()
    name, _, value = export.removeprefix("export ").partition("=")
    monkeypatch.setenv(name, value)
    assert "wopr worker shop.queue:queue &" == work
    with worker(project, target="shop.queue:queue") as process:
        read_until(process, "Started shop.queue:queue")
        task_id = run_ok(["bash", "-euc", enqueue], project).split()[-1]
        async with TaskQueue(enabled=True, database=project / "wopr_tasks.duckdb") as queue:
            info = await queue.wait(task_id, timeout=PATIENCE)
        assert "cat.png resized" == info.result
        assert "shop.tasks.resize" in run_ok(["bash", "-euc", look], project)
