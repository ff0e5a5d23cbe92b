"""How far the value reaches that begins somewhere in a text: quoted, bracketed or bare.

Everything here moves on and never back over more than a bounded part, so no text is slow.
"""

from __future__ import annotations

import re

from wopr.domain.lazypattern import lazy

QUOTE = r"(?:\\{0,32}[\"'`]|%2[27]|&quot;|&#0?3[49];|&apos;)"
"""A quotation mark, in a text in texts or escaped for URLs and HTML too."""

DEEPEST_INDENT = 200

_OPENING = lazy(rf"(?:[bBuUrRfF]{{0,2}})({QUOTE})")
_FOLLOWING = lazy(rf"\s{{0,200}}(?:\+\s{{0,8}})?[bBuUrRfF]{{0,2}}({QUOTE})")
_BRACKETS = lazy(r"[\[\](){}]|[\"'`]")
_BLOCK = lazy(r"[|>][+\-]?[0-9]?[ \t]{0,8}\n")
_INDENT = lazy(r"[ \t]*")
_ANGLES = lazy(r"<[^<>\r\n]{1,2000}>")
_SCHEME = lazy(
    r"(?:bearer|basic|digest|token|apikey|negotiate|ntlm|key)[ \t]{1,8}(?=[^\s,;=:])", re.IGNORECASE
)
# What ends a bare value goes on with it where a letter follows, as in hunter'2 or a)b.
_BARE = lazy(
    r"""(?: [^\s,;&()\[\]{}<>"'`\\]+
          | \\+(?!["'`])
          | ,(?=[^\s"'`\\])
          | [)\]}"'`<>](?=[A-Za-z0-9])
          | [;&](?=[^\s=&;"'`]{1,64}(?:[\s&;]|\Z))
        )+""",
    re.VERBOSE,
)
_ATTACHED = lazy(r"[(\[{]")


def quoted_end(text: str, start: int, quote: str) -> int:
    """Return where the quotation ends whose mark stands before ``start``: before the closing one.

    A closing mark has as many backslashes as the opening one, or fewer: then the text around it
    ends first. A text that was cut off ends it too.
    """
    mark = quote[-1] if quote[0] in "\\\"'`" else quote
    slashes = len(quote) - 1 if len(mark) == 1 else 0
    at = start
    while (found := text.find(mark, at)) >= 0:
        run = 0
        while len(mark) == 1 and found - run > start and text[found - run - 1] == "\\":
            run += 1
        if run < slashes or (run - slashes) % (2 * (slashes + 1)) == 0:
            return found - min(run, slashes)
        at = found + 1
    return len(text)


def _quoted(text: str, start: int, quote: str) -> tuple[int, int]:
    """Return the ends of a quotation that begins at ``start``, without and with its mark."""
    if text.startswith(quote * 2, start) and len(quote) == 1:  # three of them
        end = text.find(quote * 3, start + 2)
        return (len(text), len(text)) if end < 0 else (end, end + 3)
    end = quoted_end(text, start, quote)
    return end, min(end + len(quote), len(text))


def bracketed_end(text: str, start: int) -> int:
    """Return the end of what is in brackets from ``start`` on; that of the text if none closes."""
    depth, at = 0, start
    unpaired: set[str] = set()
    while (found := _BRACKETS.search(text, at)) is not None:
        sign, at = found[0], found.end()
        if sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if depth == 0:
                return at
        elif sign not in unpaired:  # an apostrophe begins no quotation
            end = quoted_end(text, at, sign)
            if end < len(text):
                at = end + 1
            else:
                unpaired.add(sign)
    return len(text)


def _is_item(text: str, start: int) -> bool:
    """Whether a list of YAML's begins there."""
    if not text.startswith("- ", start):
        return False
    line = text.rfind("\n", max(0, start - DEEPEST_INDENT), start)
    return line >= 0 and not text[line:start].strip()


def _block_end(text: str, start: int) -> int:
    """Return the end of the lines that are indented deeper than that of ``start``, or items."""
    outer = _width(text, text.rfind("\n", 0, start) + 1)
    at = text.find("\n", start) + 1
    while 0 < at < len(text):
        width = _width(text, at)
        if text[at] != "\n" and (
            width < outer or (width == outer and not text.startswith("-", at + width))
        ):
            return at - 1
        at = text.find("\n", at) + 1
    return len(text)


def _width(text: str, line: int) -> int:
    found = _INDENT.match(text, line)
    return 0 if found is None else found.end() - line


def bare_end(text: str, start: int) -> int:
    """Return the end of a value without quotation marks, with the calls that it makes."""
    scheme = _SCHEME.match(text, start)
    at = start if scheme is None else scheme.end()
    while True:
        found = _BARE.match(text, at)
        at = at if found is None else found.end()
        if _ATTACHED.match(text, at) is None:
            return at
        at = bracketed_end(text, at)


def value_at(text: str, start: int) -> tuple[int, int, str]:
    """Return begin and end of the value that stands at ``start``, and its quotation mark.

    Begin and end are those of what is inside of the mark. Nothing is there if they are the same.
    """
    opening = _OPENING.match(text, start)
    if opening is not None:
        return _quotation(text, opening)
    if _BLOCK.match(text, start) is not None or _is_item(text, start):
        return start, _block_end(text, start), ""
    angles = _ANGLES.match(text, start)
    if angles is not None:
        return start, angles.end(), ""
    return start, bare_end(text, start), ""


def _quotation(text: str, opening: re.Match[str]) -> tuple[int, int, str]:
    """Return the extent of one quotation, or of several below each other that are one text."""
    quote, begin = opening[1], opening.end()
    end, after = _quoted(text, begin, quote)
    while after < len(text):
        following = _FOLLOWING.match(text, after)
        if following is None or following[1] != quote or not set("\n+") & set(following[0]):
            break
        end_of_next, after_next = _quoted(text, following.end(), quote)
        if text[after_next : after_next + 8].lstrip(" ")[:1] in {":", "="}:  # a name of its own
            break
        end, after = end_of_next, after_next
    return begin, end, quote
