"""SQL stands with the storages, with wopr's own questions, and in the demo: nowhere else."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator

import pytest

from support.paths import SOURCE
from support.sources import Source, dotted, imported_modules, package_sources
from wopr.insights.own import is_own

QUERIES = {
    f"src/wopr/insights/{path.name}": importlib.import_module(f"wopr.insights.{path.stem}")
    for path in sorted((SOURCE / "insights").glob("*queries.py"))
}
ROOMS = ("src/wopr/storage/", "src/wopr/demo/", *QUERIES)
"""Where SQL stands. The demo is an application, with questions of its own."""

PROSE: dict[str, set[str]] = {
    "src/wopr/cli/insights.py": {
        "One SELECT; - reads it from stdin.",
        "The query is empty. For example: wopr sql 'select * from backlog'",
    },
}
"""Texts that tell people how to ask, and ask nothing themselves."""

NAME = r"""[\w."{}%]+"""
STATEMENT = re.compile(
    rf"""
    # A text that begins like a statement, after space, comments and an opening bracket.
    \A (?: \s | --[^\n]*\n | \( )*
    (?:
        select \s
        | values \s* \(
        | with \s+ (?: recursive \s+ )? {NAME} \s* (?: \([^)]*\) \s* )? as \s [^(]*? \(
        | truncate \s+ (?: table \s+ )? {NAME} \s* ;? \s* \Z
        | (?: create | alter | drop ) \s+ (?: or \s+ replace \s+ )?
            (?: temp \s+ | temporary \s+ | unique \s+ )?
            (?: table | view | index | sequence | schema | type | macro | function ) \b
        | pragma \s+ \w
        | copy \s+ (?: \( | {NAME} \s+ (?: from | to ) \s+ ['"{{] )
        | attach \s+ (?: ['"{{(] | database \b | if \s )
        | detach \s+ (?: ['"{{] | database \b )
        | explain \s+ (?: analyze \s+ )? select \b
        | set \s+ \w+ \s* (?: = | to \s )
        | from \s+ {NAME} \s* (?: ; | \Z | (?: select | where | limit | join ) \b )
    )
    # Or a part of one, wherever in the text: statements can be put together.
    | \b select \b .* \b from \b
    | \b (?: insert \s+ (?: or \s+ \w+ \s+ )? | merge \s+ ) into \s+ {NAME}
    | \b delete \s+ from \s+ {NAME}
    | \b update \s+ {NAME} \s+ set \s+ {NAME} \s* =
    | \b (?: order | group ) \s+ by \b
    | \b join \s+ {NAME} .* \s (?: on \s+ {NAME} \s* [=<>] | using \s* \( )
    | (?<! -) \b where \s+ {NAME} \s*
        (?: [=<>] | (?: not \s+ )? in \s* \( | is \s+ (?: not \s+ )? null \b | between \b )
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""What reads like SQL. Rather too much than too little: prose can be put otherwise."""


def text_of(node: ast.AST) -> str | None:
    """Return the text of a string; what an f-string puts in is shown as ``{}``."""
    if isinstance(node, ast.JoinedStr):
        values = [getattr(part, "value", None) for part in node.values]
        return "".join(value if isinstance(value, str) else "{}" for value in values)
    value = getattr(node, "value", None)
    return value if isinstance(node, ast.Constant) and isinstance(value, str) else None


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each string that a program can use: no docstrings."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr | ast.Expr)]
    skipped = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            skipped |= set(map(id, node.values))
    for node in nodes:
        text = text_of(node)
        if text is not None and id(node) not in skipped:
            yield node.lineno, text


def statements(tree: ast.AST) -> list[tuple[int, str]]:
    """Return the line and text of each string that reads like SQL."""
    return [(line, text) for line, text in literals(tree) if STATEMENT.search(text)]


ELSEWHERE = [
    pytest.param(source, id=source.name)
    for source in package_sources()
    if not source.name.startswith(ROOMS)
]


@pytest.mark.parametrize("source", ELSEWHERE)
def test_sql_stands_in_its_rooms_only(source: Source) -> None:
    prose = PROSE.get(source.name, set())
    found = statements(source.tree)
    asked = [f"{source.name}:{line} {text!r}" for line, text in found if text not in prose]
    assert asked == [], f"wopr's own questions stand in {', '.join(QUERIES)}"
    assert prose <= {text for _, text in found}, "no longer there: take it off the list"


@pytest.mark.parametrize("name", sorted(PROSE))
def test_what_is_let_pass_is_there(name: str) -> None:
    assert name in {source.name for source in package_sources()}


@pytest.mark.parametrize(
    "text",
    [
        "select 1",
        "  SELECT count(*) FROM tasks",
        "\n    select\n        name\n    from tasks\n",
        "-- how many?\nselect count(*) from tasks",
        "(select 1)",
        "insert into tasks values (?)",
        "insert or replace into tasks values (?)",
        "update tasks set status = 'failed'",
        "delete from tasks where id = ?",
        "with live as (select 1) select * from live",
        "with recursive up(id) as materialized (select 1) select * from up",
        "create table tasks (id uuid)",
        "create or replace temp view live as values (1)",
        "create unique index one on tasks (id)",
        "alter table tasks add column flow_id uuid",
        "drop view backlog",
        "pragma database_size",
        "copy tasks to 'tasks.parquet'",
        "copy (values (1)) to 'one.csv'",
        "attach 'other.duckdb' as other",
        "detach database other",
        "explain analyze select 1",
        "set memory_limit = '1GB'",
        "set threads to 1",
        "from tasks",
        "from tasks where id = ?",
        "truncate tasks",
        "merge into tasks using more on tasks.id = more.id",
        "values (1, 2)",
        "a part: where status in ('pending')",
        "where tasks.run_at <= ?",
        "where flow_id is not null",
        " order by seq limit 1",
        "group by category",
        " left join transitions on tasks.id = task_id",
        "join transitions using (task_id)",
        "or so: select name from schedules",
    ],
)
def test_a_statement_is_seen(text: str) -> None:
    assert [(1, text)] == statements(ast.parse(f"ASKED = {text!r}"))


@pytest.mark.parametrize(
    "program",
    [
        "queue.sql(f'select distinct {column} as value from tasks')",
        "queue.sql('select count(*) ' + 'from tasks')",
        "queue.sql('select count(*) '\n'from tasks')",
        "queue.sql('delete from %s' % table)",
        "queue.sql('{} where {} is null'.format(chosen, column))",
        "queue.sql(f'{chosen} order by {column}')",
        "def ask():\n    '''Ask.'''\n    return 'select 1'",
        "class Q:\n    '''Questions.'''\n    ALL = '''\n        select 1\n    '''",
        "QUESTIONS = {'all': ('select 1',)}",
        "def ask(query='select 1'): ...",
    ],
)
def test_a_statement_is_seen_wherever_it_stands(program: str) -> None:
    assert statements(ast.parse(program))


@pytest.mark.parametrize(
    "text",
    [
        "select",
        "Selected tasks start from the oldest.",
        "Delete the tasks, keep their transitions.",
        "Update the settings, then set them again.",
        "With it, as ever, (nearly) all goes well.",
        "Set limits of a category; what is not given stays as it is.",
        "Create a task, then look at its table.",
        "Copy the file to another disk.",
        "Attach a debugger to it.",
        "Drop the option --view.",
        "From the code that enqueues to each run.",
        "Where it is set, by whom, and in which file (the newest wins).",
        "where a request is authenticated, call store_auth_context(…)",
        "--where customer=7, or --where 'customer=\"7\"' for the text.",
        "Tasks join the queue and go on.",
        "values",
        "checkpoint.before",
        "explain",
    ],
)
def test_prose_is_let_pass(text: str) -> None:
    assert statements(ast.parse(f"SAID = {text!r}")) == []


def test_docstrings_may_show_sql() -> None:
    program = "'''select 1'''\nROWS = 1\n'''select 1'''\ndef ask():\n    '''select 1'''\n"
    assert statements(ast.parse(program)) == []


# -- the questions themselves --------------------------------------------------


def asked_sources() -> list[Source]:
    """Return the modules of questions."""
    return [source for source in package_sources() if source.name in QUERIES]


def questions() -> dict[str, ast.stmt]:
    """Return each constant of the queries, with what follows it."""
    return {
        f"{source.path.stem}.{target.id}": follower
        for source in asked_sources()
        for node, follower in zip(
            source.tree.body, [*source.tree.body[1:], ast.Pass()], strict=True
        )
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and not target.id.startswith("_")
    }


def test_there_are_questions_under_names_of_constants() -> None:
    assert {path.rsplit("/", 1)[1][:-3] for path in QUERIES} == {
        name.split(".")[0] for name in questions()
    }
    assert [] == [name for name in questions() if name.split(".")[1] != name.split(".")[1].upper()]


@pytest.mark.parametrize("name", sorted(questions()))
def test_a_question_says_what_it_answers(name: str) -> None:
    line = questions()[name]
    assert isinstance(line, ast.Expr), f"no line below {name}"
    assert isinstance(line.value, ast.Constant)
    assert "?" in str(line.value.value), f"the line below {name} asks nothing"


@pytest.mark.parametrize("name", sorted(questions()))
def test_a_question_is_sql(name: str) -> None:
    module, constant = name.split(".")
    texts = {path.rsplit("/", 1)[1][:-3]: found for path, found in QUERIES.items()}
    assert STATEMENT.search(getattr(texts[module], constant))


def test_each_question_is_asked() -> None:
    known = set(questions())
    modules = {name.split(".")[0] for name in known}
    asked = set()
    for source in package_sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and dotted(node.value) in modules:
                asked.add(f"{dotted(node.value)}.{node.attr}")
        imported = {name for _, name in imported_modules(source.tree)}
        asked |= {name for name in known if f"wopr.insights.{name}" in imported}
    asked = {name for name in asked if name.split(".")[1].isupper()}  # and no functions
    assert asked == known


def test_questions_know_the_domain_only() -> None:
    for source in asked_sources():
        known = {name for _, name in imported_modules(source.tree)} - {"__future__.annotations"}
        assert [] == [name for name in known if not name.startswith("wopr.domain.")]


@pytest.mark.parametrize("name", sorted(questions()))
def test_a_question_is_known_as_one_of_ours(name: str) -> None:
    module, constant = name.split(".")
    texts = {path.rsplit("/", 1)[1][:-3]: found for path, found in QUERIES.items()}
    assert is_own(getattr(texts[module], constant)), "a process of its own would look at it first"
