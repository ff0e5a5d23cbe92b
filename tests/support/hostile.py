"""Texts that mean harm on a page, and what finds the harm that they did."""

from __future__ import annotations

import re
from html.parser import HTMLParser

LABELS = [
    "<script>evil()</script><x-evil>",
    '"><x-evil a="1" x-evil="',
    "'><svg/onload=evil()><x-evil b='",
    'x onmouseover=evil() style=color:red " hx-get="//evil.example" x-evil="',
    "javascript:evil()//data:text/html,<x-evil>",
    "</title></style></textarea></script></option></svg><x-evil><!--",
    "a\u202egnp.exe\u2066\u200b\u061c",
    "b\x1b[31m\x07\x08\x9b\x7f\r\u2028",
    "{{ 7777*7 }}${7777*7}<%= 7777*7 %>{% raw %}&lt;x-evil&gt;",
    "../../../etc/passwd%00%2e%2e\\?#&=;%",
    "url(//evil.example) expression(evil())</style>@import 'x'",
    "=cmd|' /C calc'!A0",
]
"""Each is one name: of tasks, categories, schedules, tags and whatever else has one."""
EVERYTHING = "\n".join(LABELS)

_FORBIDDEN = {"iframe", "object", "embed", "base", "style", "frame", "applet", "x-evil", "math"}
_URLS = {"href", "src", "action", "formaction", "xlink:href", "poster", "data", "ping", "srcset"}
_SHOWN = {"title", "aria-label", "alt", "placeholder"}
_HX = re.compile(r"hx-(get|post|put|patch|delete|sse:connect|push-url|replace-url)")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f]"
)


def harm_of_page(text: str) -> list[str]:
    """Return what a page would do that it must not; an empty list is a good one."""
    found = _Harm()
    found.feed(text)
    found.close()
    if "54439" in text:
        found.harm.append("took a text for a template")
    return found.harm


class _Harm(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.harm: list[str] = []
        self._exact = False
        """Whether this is what a form sends back, as it is."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._exact = tag == "textarea"
        if tag in _FORBIDDEN:
            self.harm.append(f"has <{tag}>")
        if tag == "script" and not self._may_run(values):
            self.harm.append(f"has a script of its own: {values}")
        if tag == "meta" and "http-equiv" in values:
            self.harm.append(f"has {values}")
        for name, value in values.items():
            self._judge(tag, name, value)

    def _judge(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on") or name in {"style", "srcdoc"} or "evil" in name:
            self.harm.append(f"has <{tag} {name}={value!r}>")
        runs = name.startswith("hx-") and value.strip().lower().startswith(("js:", "javascript:"))
        if name.startswith("hx-on") or runs:
            self.harm.append(f"runs {name}={value!r} of <{tag}>")
        if name in _SHOWN and _HIDDEN.search(value):
            self.harm.append(f"hides something in {name}={value!r} of <{tag}>")
        leads = (name in _URLS and tag != "data") or _HX.fullmatch(name)
        if leads and not re.match(r"(/(?![/\\])|#|\?|$|true$|false$)", value):
            self.harm.append(f"leads to {value!r} by {name} of <{tag}>")

    def _may_run(self, values: dict[str, str]) -> bool:
        data = values.get("type", "").startswith("application/json")
        return data or re.match(r"/(?!/)[\w/.]*static/", values.get("src", "")) is not None

    def handle_data(self, data: str) -> None:
        if not self._exact and _HIDDEN.search(data):
            self.harm.append(f"hides something in {data!r}")

    def handle_endtag(self, tag: str) -> None:
        self._exact = False

    handle_startendtag = handle_starttag


def visits(path: str, values: dict[str, list[str]]) -> list[str]:
    """Return the paths of a route: each parameter with one of its values, one after another."""
    names = re.findall(r"{(\w+)(?::\w+)?}", path)
    most = max((len(values.get(name, ["x"])) for name in names), default=1)
    paths = []
    for at in range(most):
        one = path
        for name in names:
            known = values.get(name, ["x"])
            before, _, rest = one.partition(f"{{{name}")
            one = before + known[at % len(known)] + rest.partition("}")[2]
        paths.append(one)
    return paths
