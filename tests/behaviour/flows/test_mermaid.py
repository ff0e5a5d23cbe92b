"""The picture of a flow."""

from __future__ import annotations

import random
import re

from wopr import TaskStatus
from wopr.flows.members import Member
from wopr.flows.mermaid import MOST_EDGES, MOST_NODES, mermaid

OK, PENDING = TaskStatus.SUCCESS, TaskStatus.PENDING


def a(
    task_id: str,
    name: str,
    status: TaskStatus,
    *parents: str,
    waiting: bool = False,
    key: str | None = None,
) -> Member:
    return Member(task_id, name, status, 0, waiting, None, parents, key, listed=False, stays=False)


def boxes(text: str) -> list[str]:
    return re.findall(r't\d+\["(.*)"\]:::', text)


def arrows(text: str) -> list[str]:
    return re.findall(r"t\d+ --> t\d+", text)


def test_a_small_flow_shows_each_task_with_its_status() -> None:
    members = [
        a("01890000-0000-7000-8000-00000000000a", "fetch", OK),
        a("01890000-0000-7000-8000-00000000000b", "count", TaskStatus.FAILED, "nobody"),
        a("c", "store", PENDING, "01890000-0000-7000-8000-00000000000a", waiting=True, key="end"),
    ]
    assert """flowchart TD
    t0["fetch<br/>…0000000a"]:::success
    t1["count<br/>…0000000b"]:::failed
    t2["store<br/>end"]:::waiting
    t0 --> t2
    classDef success fill:#dcfce7,stroke:#16a34a,color:#14532d
    classDef failed fill:#fee2e2,stroke:#dc2626,color:#7f1d1d
    classDef waiting fill:#f4f4f4,stroke:#999,color:#555,stroke-dasharray:4""" == mermaid(members)


def test_a_name_gives_the_picture_no_orders() -> None:
    nasty = 'a"]; click t0 "javascript:alert(1)"\n%%{init}%% <b>`x`</b> #quot; \x1b[2J'
    lines = mermaid([a("a", nasty, OK, key='k"]')]).splitlines()
    assert 3 == len(lines)
    label = boxes(lines[1])[0]
    assert re.fullmatch(r"(?:\w|[ ….]|#\d+;|<br/>)+", label)
    assert "javascript#58;alert#40;1#41;" in label
    assert label.endswith("<br/>k#34;#93;")


def test_a_long_name_is_cut() -> None:
    assert "x" * 59 + "…<br/>k" == boxes(mermaid([a("a", "x" * 500, OK, key="k")]))[0]


def test_equal_siblings_of_a_large_flow_share_a_box() -> None:
    members = [a("root", "split", OK)]
    members += [a(f"m{n}", "work", OK if n < 700 else PENDING, "root") for n in range(10_000)]
    members += [a("end", "join", PENDING, *(f"m{n}" for n in range(10_000)), waiting=True)]
    text = mermaid(members)
    assert ["split<br/>…root", "work<br/>× 700", "work<br/>× 9,300", "join<br/>…end"] == boxes(text)
    assert ["t0 --> t1", "t0 --> t2", "t1 --> t3", "t2 --> t3"] == arrows(text)


def test_equal_chains_of_a_large_flow_are_drawn_as_one() -> None:
    members = []
    for n in range(1_000):
        members += [a(f"a{n}", "load", OK), a(f"b{n}", "scan", PENDING, f"a{n}")]
    assert ["load<br/>× 1,000", "scan<br/>× 1,000"] == boxes(mermaid(members))


def test_a_long_chain_is_drawn_by_kind_of_task() -> None:
    members = [a("0", "step", OK)]
    members += [
        a(str(n), "step", OK if n < 4_000 else PENDING, str(n - 1)) for n in range(1, 9_000)
    ]
    text = mermaid(members)
    assert ["step<br/>× 4,000", "step<br/>× 5,000"] == boxes(text)
    assert ["t0 --> t1"] == arrows(text)


def test_a_large_graph_of_any_shape_gives_a_small_picture() -> None:
    rng = random.Random(7)
    members = [
        a(
            str(n),
            f"kind{rng.randrange(5)}",
            rng.choice([OK, PENDING]),
            *{str(rng.randrange(n)) for _ in range(3 if n else 0)},
        )
        for n in range(5_000)
    ]
    text = mermaid(members)
    assert 10 == len(boxes(text))
    assert len(arrows(text)) <= 90


def test_the_largest_that_is_drawn_in_full() -> None:
    members = [a(str(n), f"n{n}", OK) for n in range(MOST_NODES)]
    assert MOST_NODES == len(boxes(mermaid(members)))
    crossed = [a(f"a{n}", "top", OK) for n in range(20)]
    crossed += [a(f"b{n}", "low", OK, *(f"a{m}" for m in range(20))) for n in range(20)]
    assert MOST_EDGES == len(arrows(mermaid(crossed)))
    crossed += [a("z", "low", OK, "a0")]
    assert 2 == len(boxes(mermaid(crossed)))
