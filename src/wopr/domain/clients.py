"""Passwords in the short options of well-known programs: ``mysql -pX``, ``redis-cli -a X``.

What an option means depends on the program: ``-p`` is a port to others. So the program's name has
to stand before it, in the same command.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from wopr.domain.lazypattern import lazy
from wopr.domain.secretnames import is_prose


class Client(NamedTuple):
    """The options of a program that take a password."""

    options: str
    glued: bool
    """Whether it may follow without a blank."""


_DATABASES = Client("-p", glued=True)
_DIRECTORY = Client("-w", glued=True)
_LOGIN = Client("-p", glued=False)
CLIENTS: dict[str, Client] = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow"), _DATABASES),
    **dict.fromkeys(("mysqlcheck", "mysqlsh", "mysqlpump", "mysqlbinlog", "mysqlslap"), _DATABASES),
    **dict.fromkeys(("mariadb", "mariadb-dump", "mariadb-admin", "mariabackup"), _DATABASES),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport"), _DATABASES),
    **dict.fromkeys(("mongoimport", "7z", "7za", "7zr", "sshpass"), _DATABASES),
    **dict.fromkeys(("ldapsearch", "ldapadd", "ldapmodify", "ldapdelete"), _DIRECTORY),
    "ldappasswd": Client("-[was]", glued=True),
    **dict.fromkeys(("sqlcmd", "bcp", "isql", "zip", "unzip"), Client("-P", glued=True)),
    **dict.fromkeys(("docker login", "podman login", "nerdctl login", "az login"), _LOGIN),
    **dict.fromkeys(("oc login", "helm registry login", "cf login"), _LOGIN),
    "redis-cli": Client("-a", glued=False),
    "smbclient": Client("-U[\"', =]{0,4}[^\\s%\"']{1,80}%", glued=True),
    "openssl": Client("-pass(?:in|out)?[\"', ]{1,4}pass:", glued=True),
}
_NAMES = sorted(CLIENTS, key=len, reverse=True)
_BETWEEN = r"(?:[\"']\s?,\s?[\"']|[ ])"
"""Two words of a command, as text or as the list that it was."""
_NAME = lazy(
    r"(?<![\w.\-])(?:"
    + "|".join(re.escape(name).replace(r"\ ", _BETWEEN) for name in _NAMES)
    + r")(?:\.exe)?(?![\w\-.:])"
)
_HINT = lazy(
    r"mysql|maria|mongo|7z|sshpass|redis-cli|ldap|sqlcmd|bcp|isql|zip|login|smbclient|openssl"
)
_COMMAND = lazy(r"[^\n;|&]{0,4000}")
_BEFORE = r"(?<![^\s\"',])"
_VALUE = r"(?:'[^'\n]{1,400}'|\"[^\"\n]{1,400}\"|[^\s\"',\-][^\s\"',]{0,400})"


@cache
def _pattern(client: Client) -> re.Pattern[str]:
    apart = r"[\"']\s?,\s?(?=[\"'])|[ =]"
    gap = rf"(?:{apart})?" if client.glued else rf"(?:{apart})"
    return re.compile(rf"({_BEFORE}(?:{client.options}){gap})({_VALUE})")


_WORDS = lazy(r"[\"',\s]+")


def mask_clients(text: str, shown: str) -> str:
    """Return the text with ``shown`` in the place of passwords of known programs."""
    if _HINT.search(text) is None:
        return text
    parts: list[str] = []
    at, found = 0, _NAME.search(text)
    while found is not None:
        client = CLIENTS[_WORDS.sub(" ", found[0].removesuffix(".exe"))]
        command = _COMMAND.match(text, found.end())
        end = found.end() if command is None else command.end()
        following = _NAME.search(text, found.end())
        if following is not None:
            end = min(end, following.start())
        options = _pattern(client).sub(lambda one: _masked(one, shown), text[found.end() : end])
        parts += [text[at : found.end()], options]
        at, found = end, following
    return "".join([*parts, text[at:]])


def _masked(found: re.Match[str], shown: str) -> str:
    value = found[2]
    if found[1].endswith(" ") and is_prose(value):
        return found[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{found[1]}{quote}{shown}{quote}"


class Command:
    """Follows the words of a command, and tells which of them are passwords."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._before = ""

    def word(self, word: str, shown: str) -> str:
        """Return the next word, masked if it is one."""
        before, self._before = self._before, word
        name = word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
        known = CLIENTS.get(f"{before} {name}", CLIENTS.get(name))
        if known is not None:
            self._client = known
        elif self._client is not None:
            together = _pattern(self._client).fullmatch(word)
            if together is not None:
                return f"{together[1]}{shown}"
            if re.fullmatch(self._client.options, before) and not word.startswith("-"):
                return shown
        return word
