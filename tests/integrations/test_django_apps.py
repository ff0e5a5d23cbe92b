"""The tasks of Django's applications are found, in the worker and in every other process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support import workers
from support.programs import BIN, run, run_ok
from support.workers import read_until, worker

MINE = "import wopr\n\n@wopr.task(category='{0}')\ndef {0}() -> str:\n    return '{0} done'\n"
FILES = {
    "shop/__init__.py": "",
    "shop/queue.py": "from wopr import TaskQueue\n\nqueue = TaskQueue(enabled=True)\n",
    "shop/settings.py": "SECRET_KEY = 'not a secret'\n"
    "INSTALLED_APPS = ['shop', 'bakery.apps.Bakery', 'silent']\n",
    "shop/models.py": "",
    "shop/tasks.py": "import shop.models\nfrom django.apps import apps\n"
    "assert apps.models_ready\n" + MINE.format("ship"),
    "shop/apps.py": "from django.apps import AppConfig\n\n\nclass Shop(AppConfig):\n"
    "    name = 'shop'\n\n    def ready(self):\n"
    "        from shop.queue import queue\n"
    "        from wopr.integrations.djangoapps import discover\n"
    "        discover(queue)\n",
    "bakery/__init__.py": "",
    "bakery/apps.py": "from django.apps import AppConfig\n\n\nclass Bakery(AppConfig):\n"
    "    name = 'bakery'\n",
    "bakery/tasks.py": MINE.format("bake"),
    "silent/__init__.py": "",
}
PROGRAM = """
import asyncio

import django

django.setup()

from bakery.tasks import bake
from shop.queue import queue
from shop.tasks import ship

async def main():
    async with queue:
        await queue.start_workers("ship")
        await queue.start_workers("bake")
        for task in (ship, bake):
            print(await (await task.enqueue()).result(timeout=50))

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def environment() -> dict[str, str]:
    return {**workers.environment(), "DJANGO_SETTINGS_MODULE": "shop.settings"}


def test_an_application_puts_the_tasks_of_all_into_its_queue_when_django_is_ready(
    folder: Path,
) -> None:
    (folder / "program.py").write_text(PROGRAM)
    out = run_ok([sys.executable, "program.py"], folder, env=environment())
    assert out.split("\n") == ["ship done", "bake done", ""]


def test_a_worker_finds_the_tasks_by_itself(folder: Path) -> None:
    (folder / "shop/apps.py").unlink()
    with worker(folder, target="shop.queue:queue", env=environment()) as process:
        assert "workers: bake:4, ship:4." in read_until(process, "Started")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("bakery/tasks.py", "import nothing_there\n", "Importing 'bakery.tasks' failed"),
        ("shop/settings.py", "INSTALLED_APPS = ['lost']\n", "DJANGO_SETTINGS_MODULE=shop.settings"),
    ],
)
def test_what_fails_is_named_and_the_worker_does_not_start(
    folder: Path, file: str, text: str, said: str
) -> None:
    (folder / "shop/apps.py").unlink()
    (folder / file).write_text(text)
    done = run([BIN / "wopr", "worker", "shop.queue:queue"], folder, env=environment())
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
