"""Take secrets out of what people and machines read: errors, logs, settings, messages.

Masks first, then cuts: a text that was cut before may have lost the word that says
what the rest of it is.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache

from wopr.domain.clients import Command, mask_clients
from wopr.domain.extent import bracketed_end, value_at
from wopr.domain.guarded import guarded, plain_text, type_name
from wopr.domain.lazypattern import lazy
from wopr.domain.secretnames import Spot, is_harmless, is_secret, plain_letters, spots
from wopr.domain.tokens import LONGEST_WORD, mask_tokens

__all__ = ["LONGEST", "MASK", "is_secret", "mask", "masked", "shortened"]

MASK = "***"
DEEPEST = 6
"""Levels of a value that are looked into; what is below becomes an ellipsis."""
MOST = 10_000
"""Items of a value that are looked into, about; what comes then becomes an ellipsis."""
OFTEN = 2_048
"""Texts up to that length come again and again, so what became of the last ones is kept."""
LONGEST = 262_144
"""Characters of a text that are looked at; of a longer one the middle is left out."""

_FRAME = lazy(r"\n(?=[ |+\-]{0,60}File \"[^\"\n]{1,500}\", line [0-9])")
"""Where a traceback goes on: a bracket that its line leaves open closes nowhere behind that."""
_GAP = r"(?: |\+|%20)"
_KEY = rf"{_GAP}[A-Z0-9 +%]{{0,40}}PRIVATE{_GAP}KEY(?:{_GAP}BLOCK)?-----"
_PEM = lazy(rf"-----BEGIN{_KEY}", re.IGNORECASE)
_PEM_END = lazy(rf"-----END{_KEY}", re.IGNORECASE)
_PEM_REST = lazy(r"[A-Za-z0-9+/=\r\n\\]*")
SHORTEST_REST = 16
_MARK = re.compile(r"\S{1,60}(?: \S{1,60})?").fullmatch
_PUTTY = lazy(r"(Private-Lines: [0-9]{1,4}\s{1,4})(?:[A-Za-z0-9+/=]{1,80}\s{1,4}){1,400}")
_HEADER = lazy(r"(?:=\\?\"[^\"\r\n]*\"|[^\r\n\"'\\])*")
_LINE = lazy(r"[^\r\n\"',;\\]*")
_TAGGED = lazy(r"[^<]*")
_RUN = lazy(r"[^\s\"'<>`\\]*")
_AUTHORITY = lazy(r"[/?#]")
_USER = lazy(r"[a-z][a-z._\-]{0,15}")
_QUERY = lazy(
    r"([?&#;](?:amp;)?(?:sig|signature|key|code|auth|hmac|sas|ticket|x-(?:amz|goog)-(?:signature"
    r"|credential))=)([^&\s\"'<>#;,)\\]+)",
    re.IGNORECASE,
)
_SPOKEN = lazy(
    r"(\bidentified\s{1,4}by\s{1,4}|\blogin\s{1,4}\S{1,80}\s{1,4}password\s{1,4})"
    r"('[^']{1,200}'|\S{1,200})",
    re.IGNORECASE,
)
_JDBC = lazy(r"(jdbc:oracle:\w{1,10}:[^/\s]{1,80}/)[^@\s]{1,200}(?=@)", re.IGNORECASE)
_LOGIN = lazy(
    r"((?:(?<=\s)|(?<=[\"'])|\A)(?:-u|--user|--proxy-user)"
    r"(?:[\"'],\s?[\"']|[= ][\"']?|(?<=-u))[^\s:\"']{1,80}:)"
    r"(?![0-9]{1,6}(?:[\s\"']|\Z))[^\s\"']{1,200}"
)
_FIELD = lazy(
    r"^([\w.\-]{1,200})(\n[ ]{2}[^\n\[]{0,300}\[type=\w{1,60}, input_value=)[^\n]{1,2000}"
    r"(?=, input_type=)",
    re.MULTILINE,
)
"""How pydantic tells which value of which field did not fit."""
_BEARER = lazy(r"\b(bearer)\s{1,8}([^\s,;)\]}\"'\\]+)", re.IGNORECASE)
_SCHEME = lazy(
    r"\b(token|negotiate|ntlm|api-?key)\s{1,8}(?=[^\s]{0,80}[0-9])(?=[^\s]{0,80}[A-Za-z])"
    r"([A-Za-z0-9._~+/\-]{16,}={0,2})",
    re.IGNORECASE,
)
"""Other words for the same, which also stand in sentences."""
_CODE = lazy(
    r"((?:\A|(?<=[\s\"'(,]))code=)(?=[^\s]{0,80}[0-9])(?=[^\s]{0,80}[a-z])(?=[^\s]{0,80}[A-Z])"
    r"[A-Za-z0-9._~+/\-]{12,}"
)
"""The code of OAuth, where it is not in a URL: one of errors has not all three kinds of signs."""
_BASIC = lazy(r"\b(basic)\s{1,8}([A-Za-z0-9+/]{4,}={0,2})", re.IGNORECASE)


def mask(text: str) -> str:
    """Return the text with the secrets in it replaced by ``***``.

    They are found by the words beside them (``password=…``, ``"api_key": ["…"]``,
    ``--token …``, ``Authorization: …``, ``https://user:…@host``), and by their own look:
    private keys, tokens of well-known services, JSON web tokens, hashes of passwords.
    """
    if len(text) <= OFTEN:
        return _mask_often(text)
    return _mask(shortened(text, LONGEST))


def _mask(text: str) -> str:
    plain = plain_letters(text)
    found = _masked_text(plain)
    return text if found == plain else found


def _masked_text(text: str) -> str:
    if "-----" in text or "Private-Lines" in text:
        text = _without_keys(text)
    if "://" in text:
        text = _without_users(text)
    if "=" in text:
        text = _CODE.sub(rf"\1{MASK}", _QUERY.sub(_masked_query, text))
    if ", input_value=" in text:
        text = _FIELD.sub(_masked_field, text)
    small = text.lower()
    text = _without_logins(text, small)
    text = "\n".join(map(_without_named, _FRAME.split(text)))
    if "bearer" in small:
        text = _BEARER.sub(_masked_bearer, text)
    if "token" in small or "ntlm" in small or "negotiate" in small or "key" in small:
        text = _SCHEME.sub(rf"\1 {MASK}", text)
    if "basic" in small:
        text = _BASIC.sub(_masked_basic, text)
    return mask_tokens(text, MASK)


_mask_often = lru_cache(512)(_mask)


def forget_masked() -> None:
    """Mask all texts anew: there are other rules than before."""
    _mask_often.cache_clear()


def shortened(text: str, longest: int) -> str:
    """Cut a text before it is masked to about so many characters: begin and end stay.

    The end begins with a line, as half a secret has no name.
    """
    if len(text) <= longest:
        return text
    half = longest // 2
    line = text.find("\n", len(text) - half)
    tail = "" if line < 0 else text[line:]
    return f"{text[:half]}\n… [{len(text) - half - len(tail):,} characters left out] …{tail}"


def _without_logins(text: str, small: str) -> str:
    """Mask what programs are told to log in with."""
    if "-u" in text or "-user" in text:
        text = _LOGIN.sub(rf"\1{MASK}", text)
    if "-" in text:
        text = mask_clients(text, MASK)
    if "jdbc:" in small:
        text = _JDBC.sub(rf"\1{MASK}", text)
    if "identified" in small or "login" in small:
        text = _SPOKEN.sub(rf"\1{MASK}", text)
    return text


def _without_keys(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (begin := _PEM.search(text, at)) is not None:
        end = _PEM_END.search(text, begin.end())
        parts += [_without_rest(text[at : begin.end()]), MASK]
        at = len(text) if end is None else end.start()
    parts.append(_without_rest(text[at:]) if not parts else text[at:])
    return _PUTTY.sub(rf"\1{MASK}", "".join(parts))


def _without_rest(text: str) -> str:
    """Mask the lines of a key whose beginning was cut off."""
    end = _PEM_END.search(text)
    if end is None:
        return text
    rest = _PEM_REST.match(text[: end.start()][::-1])
    if rest is None or len(rest[0]) < SHORTEST_REST:
        return text
    return f"{text[: end.start() - len(rest[0])]}{MASK}\n{text[end.start() :]}"


def _without_users(text: str) -> str:
    """Mask the passwords of URLs, and names that are tokens: ``https://TOKEN@host``."""
    parts: list[str] = []
    at, run_end, sign = 0, 0, -1
    while (scheme := text.find("://", at)) >= 0:
        begin = scheme + 3
        parts.append(text[at:begin])
        at = begin
        if begin >= run_end:
            run = _RUN.match(text, begin)
            run_end = begin if run is None else run.end()
        if sign < begin:
            sign = text.find("@", begin, run_end)
            sign = run_end if sign < 0 else sign
        if sign >= run_end:
            continue
        slash = text.find("/", begin, sign)
        if slash < 0:
            last = text.rfind("@", sign, _authority_end(text, sign, run_end))
            parts.append(_masked_user(text, scheme, text[begin:last]))
            at = last
    return "".join([*parts, text[at:]])


def _authority_end(text: str, start: int, end: int) -> int:
    found = _AUTHORITY.search(text, start, end)
    return end if found is None else found.start()


def _masked_user(text: str, scheme: int, given: str) -> str:
    user, colon, password = given.partition(":")
    if colon:
        return f"{user}:{MASK}" if password else given
    web = text[max(0, scheme - 5) : scheme].lower().endswith(("http", "https"))
    plain = _USER.fullmatch(user) is not None and not is_secret(user)
    token = len(user) >= 16 and any(map(str.isdigit, user))
    return MASK if user and (token or (web and not plain)) else given


def _masked_query(found: re.Match[str]) -> str:
    name, value = found[1].lower(), found[2]
    broad = name.endswith(("key=", "code="))
    if (value.isdigit() and len(value) < 4) or (broad and not _like_a_token(value)):
        return found[0]
    return f"{found[1]}{MASK}"


def _masked_field(found: re.Match[str]) -> str:
    named = any(map(is_secret, found[1].split(".")))
    return f"{found[1]}{found[2]}{MASK}" if named else found[0]


def _like_a_token(value: str) -> bool:
    return len(value) >= 12 and any(map(str.isdigit, value))


def _without_named(text: str) -> str:
    """Mask what stands beside the names of secrets."""
    parts: list[str] = []
    copied, seen = 0, spots(text)
    spot = next(seen, None)
    while spot is not None:
        begin, end, quote = _extent(text, spot)
        go_on = spot.value
        if begin < end and not is_harmless(text, spot) and _fits(text, spot, end, quote):
            mark = spot.closing if not quote and spot.how == "sign" else ""
            parts.append(f"{text[copied:begin]}{mark}{MASK}{mark}")
            copied = go_on = end
        try:
            spot = seen.send(go_on)
        except StopIteration:
            break
    return "".join([*parts, text[copied:]])


def _extent(text: str, spot: Spot) -> tuple[int, int, str]:
    if spot.how == "call":  # SecretStr('…')
        end = bracketed_end(text, spot.value)
        return spot.value + 1, end - text.startswith(")", end - 1), ""
    begin, end, quote = value_at(text, spot.value)
    wider = {"header": _HEADER, "phrase": _LINE, "tag": _TAGGED}.get(spot.how)
    found = None if quote or wider is None else wider.match(text, spot.value)
    if found is not None:
        end = max(end, found.end())
        end = begin + len(text[begin:end].rstrip())
    return begin, end, quote


def _fits(text: str, spot: Spot, end: int, quote: str) -> bool:
    """Whether what was found can be the value; a pair ends with it, or names follow."""
    if spot.how != "pair" or text[spot.begin] == "-":
        return True
    return _ENDS.match(text, end + len(quote)) is not None


_ENDS = lazy(r"\s{0,8}(?:[)\]]|\Z|,\s{0,8}(?:[)\]]|\w{1,40}=))")


def _masked_bearer(found: re.Match[str]) -> str:
    return found[0] if _PROSE.fullmatch(found[2]) else f"{found[1]} {MASK}"


_PROSE = lazy(r"(?:tokens?|auth(?:entication)?|schemes?|is|or|and|of|for)[.:]?", re.IGNORECASE)


def _masked_basic(found: re.Match[str]) -> str:
    """Mask what is a name and a password in base64, and not the next word."""
    try:
        plain = b64decode(found[2] + "=" * (-len(found[2]) % 4), validate=True)
    except (binascii.Error, ValueError):
        return found[0]
    return f"{found[1]} {MASK}" if b":" in plain else found[0]


def masked(value: object, name: str = "") -> object:
    """Return a value as JSON can hold it, without secrets.

    Args:
        value: anything; what JSON has no form for becomes its text.
        name: what it is called; that alone can make it a secret.
    """
    unreadable: object = f"({type_name(value)}: it can't be read)"
    return guarded(lambda: _masked(value, name, 0, [MOST]), unreadable)


def _masked(value: object, name: str, depth: int, left: list[int]) -> object:
    """Mask what sits so deep in something else; ``left`` items may still be looked into."""
    if value is None or isinstance(value, bool):
        return value
    if is_secret(name):
        return MASK
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth >= DEEPEST or left[0] <= 0:
            return "…"
        left[0] -= len(value)
    if isinstance(value, Mapping):
        items = [(_text(key), item) for key, item in value.items()]
        items = _named_apart(items)
        return {mask(key): _masked(item, key, depth + 1, left) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return _masked_items(list(value), depth, left)
    return mask(_text(value))


_NAMES = frozenset({"name", "key", "field", "header", "param", "parameter", "variable"})


def _named_apart(items: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Mask what is called ``value`` where its name is beside it: ``{"name": …, "value": …}``."""
    names = [item for key, item in items if key.lower() in _NAMES and isinstance(item, str)]
    if not any(_MARK(name) and is_secret(name) for name in names):
        return items
    return [(key, MASK if key.lower() == "value" else item) for key, item in items]


def _masked_items(items: list[object], depth: int, left: list[int]) -> list[object]:
    """Mask a list: also the other half of a pair, and what follows an option."""
    shown: list[object] = []
    before, command = "", Command()
    for item in items:
        word = command.word(item, MASK) if type(item) is str and len(item) <= LONGEST_WORD else item
        shown.append(_masked(word, before, depth + 1, left))
        name = _text(item) if isinstance(item, str | bytes) and len(item) <= 60 else ""
        option = name.startswith("-") and "=" not in name
        before = name if option or (len(items) == 2 and len(shown) == 1) else ""
    return shown


def _text(value: object) -> str:
    if type(value) is str:
        return value
    text = plain_text(value)
    return f"({type_name(value)}: its text can't be read)" if text is None else text
