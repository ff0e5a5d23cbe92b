"""Which names tell that what stands beside them is secret, and where that stands."""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

from wopr.domain.extent import QUOTE
from wopr.domain.lazypattern import lazy

_KEYS = lazy(
    r"(?:api|app|access|private|secret|encryption|signing|master|account|shared|auth|ssh|deploy"
    r"|subscription|consumer|client|webhook|hmac|jwt|session|storage|license|fernet|aes|rsa|gpg"
    r"|pgp|root|ssl|tls|functions?)[_\- ]?\Z|\bapi\.\Z",
    re.IGNORECASE,
)
_PLURAL = lazy(r"(?:access|api|auth|bearer|refresh|secret)[_\- ]?\Z", re.IGNORECASE)
_OWNERS = lazy(
    r"(?:store|key|user|db|my|smtp|mysql|pg|ftp|ssh|admin|root|sudo|become|ldap|mail|redis|mongo|bind)\Z",
    re.IGNORECASE,
)
_HINT = lazy(
    r"pass|pwd?|pin|secret|sess|sig|seed|token|auth|key|kennwort|cookie|cred|cv[vc]|csrf|contrase"
    r"|connect\.sid|bearer|mnemonic|otp|hmac|jwt|xsrf|senha|wachtwoord|парол|密码|密碼|パスワード"
    r"|비밀번호|암호|暗証番号|mot|psk|sas|pat|recovery|backup|salt|pepper|has[lł]o|l[oö]senord|[sş]ifre"
    r"|parola|salasana|adgangskode|heslo|jelsz[oó]|mật|סיסמ|كلمة"
)
"""What each name of a secret has in it, in small letters."""
_TAIL = r"[\w.\-]{0,40}"
_ABROAD = (
    r"(?<![^\W\d_])(?:passord|has[lł]o|l[oö]senord|[sş]ifre|parola|salasana|adgangskode|heslo"
    r"|jelsz[oó]|mật[ _]khẩu|סיסמ[הא]|كلمة[ _](?:المرور|السر))(?![^\W\d_])"
)
_COUNTED = r"[_\-]?(?:count|limit|length|budget|usage|type|ttl|size|total)(?![a-z])"
"""What may be told of tokens."""
_ALWAYS = lazy(
    r"(?:pass[_\-]?wor[dt]|passwd|passcode|passphrase|pass[_\- ]phrase|kennwort|contrase.a|pwd"
    r"|senha|wachtwoord|парол|密码|密碼|パスワード|비밀번호|암호|暗証番号|mot[ _]de[ _]passe"
    rf"|secret(?!ar)|token(?!s|iz|{_COUNTED})|authori[sz]ation|cookie|credential|bearer|mnemonic"
    rf"|seed[_\- ]?phrase|(?:recovery|backup)[_\- ]?codes?|{_ABROAD}){_TAIL}",
    re.IGNORECASE,
)
_AFTER_ANOTHER = lazy(rf"(?:tokens|key|pass){_TAIL}", re.IGNORECASE)
_MOSTLY = lazy(
    r"(?:(?:(?<![A-Za-z])|(?<=\\[nrt]))(?i:pass|pw|creds?|salt|pepper|auth|sig|signature|hmac|otp|pin|cvv|cvc"
    r"|jwt|psk|sas|pat|connect\.sid|sess(?:ion)?[_\-]?id|(?:csrf|xsrf)(?:[_\-]?[a-z]{1,10})?)"
    r"|(?<=[a-z0-9])(?:Pass|Pw|Creds?|Salt|Auth|Sig|Signature|Hmac|Otp|Pin|Cvv|Cvc|Jwt|Pat|SessionId)"
    r"|(?:(?<=PHP)|(?<=J)|(?<=ASP)|(?<=php))(?i:sess(?:ion)?_?id)|(?<=[tT])(?i:otp)"
    r")(?![\w\-])"
)
"""Words that name a secret where they end a name, unless what follows is too plain for one."""

_HEADER = lazy(r"(?:proxy[_\-])?authori[sz]ation|(?:set[_\-])?cookie", re.IGNORECASE)
_PHRASE = lazy(r"(?:pass|seed)[_\- ]?phrase|mnemonic", re.IGNORECASE)
_SPOKEN = lazy(r"passw(?:or[dt]|d)|passphrase", re.IGNORECASE)

_TYPE = (
    r"(?:\w{1,40}\.){0,3}(?:str|bytes|int|float|bool|dict|list|tuple|set|object|Any|None|SecretStr"
    r"|SecretBytes|Optional|Annotated|Literal|Callable)\b(?:\[[\w., |]{0,80}\])?(?:\s?\|\s?None)?"
)
_CLOSING = lazy(QUOTE)
_BRACKET = lazy(rf"(?:\[(?:{QUOTE})?\w{{0,40}}(?:{QUOTE})?\]){{1,3}}|[ ]?[\])]")
_ANNOTATED = lazy(rf"\s{{0,4}}:\s{{0,4}}{_TYPE}\s{{0,4}}=(?!=)\s{{0,4}}")
_DECLARED = lazy(rf"{_TYPE}(?=\s{{0,4}}(?:[,)\]|]|->|\Z|\n))")
_SIGN = lazy(
    r"(?:[ ](?:for|of)[ ][^\s:=]{1,60}:\s{1,4}(?=\S{0,60}[0-9])"
    r"|(?:[ ](?:provided|given|supplied|entered|used))?"
    r"\s{0,8}(?:[→⇒⟶➜＝：]|=>|:=|->|!=|={1,3}|:(?!//)|%3[AaDd]"
    r"|&(?:colon|equals|#0{0,4}(?:58|61)|#[xX]0{0,4}3[aAdD]);)\s{0,8})"
)
_COMMA = lazy(r"\s{0,8},\s{0,8}")
_VALUE = lazy(rf"[,;\s]{{1,8}}(?:{QUOTE})?value(?:{QUOTE})?\s{{0,8}}[:=]\s{{0,8}}", re.IGNORECASE)
_NAMED = lazy(rf"(?:{QUOTE})?value(?:{QUOTE})?\s{{0,8}}[:=]\s{{1,8}}(?=\S)", re.IGNORECASE)
"""The name of the value itself: ``password:``, and in the next line ``value: …``."""
_SPACE = lazy(r"[ \t]{1,8}(?=[^\s\-,;.)])")
_TAG = lazy(r"[^<>]{0,200}>(?=[^<])")
_IS = (
    r"(?:[ ](?:of|for)[ ]\S{1,60})?[ ]{1,4}"
    r"(?:is|was|equals|(?:is[ ]|was[ ]|has[ ]been[ ])?(?:now|set[ ]to|changed[ ]to|reset[ ]to))"
    r":?[ ]{1,4}(?:now[ ])?"
)
_SAID = lazy(rf"{_IS}(?=\S)|\s{{1,4}}(?=['\"]|[A-Za-z][^\s:=]{{0,60}}[0-9])")
_SAID_TO_BE = lazy(rf"{_IS}(?=['\"]\S|(?=\S{{0,60}}[A-Za-z])\S{{0,60}}[0-9])")
_ORDINARY = lazy(
    r"\(?(?:\w*(?:ed|ing|able|ible|ly|less|ent|ant|ive|ous|al|ful|ory|ary|est|er)|in\w+|un\w+"
    r"|correct|wrong|empty|blank|missing|too|not|only|also|still|never|no|set|null|none|valid|ok"
    r"|okay|the|an?|in|on|at|of|to|for|from|by|as|and|or|but|if|so|this|that|what|which|who|here"
    r"|there|just|been|being|up|out|about|your|my|his|its|our|their|weak|strong|short|long|common"
    r"|secure|safe|part|sent|kept|read|taken|known|made|shown|given|seen|hidden|public|private"
    r"|now|then|more|good|bad|fine|simple|hard|easy|plain|text|case|all|one|old|new|same|hash"
    r"|secret|nothing|something|anything|case-(?:in)?sensitive)(?![\w\-@#$%^&*+=!~])",
    re.IGNORECASE,
)
"""How a sentence about a password goes on that does not tell it."""
_CALLED = lazy(rf"\(\s{{0,8}}(?:(?:value|secret|raw|data|text)=)?[bBuUrR]{{0,2}}{QUOTE}")
_BEFORE = lazy(r"[(\[]\s{0,8}[bBuUrR]{0,2}\Z")
_PROSE = lazy(
    r"(?:to|and|or|is|was|are|for|options?|flags?|must|in|with|instead|arguments?|if|as|from|on"
    r"|not|the|an?|can|cannot|could|should|requires?|needs?|has|but|when|without|given|that|which"
    r"|values?|be|by)(?=[.,;:)]{0,2}(?:\s|\Z))"
)
_PLAIN = lazy(
    r"(?:true|false|none|null|yes|no|on|off|ok|[0-9]{1,3}(?:\.[0-9]+)?%?)(?![\w.\-])", re.IGNORECASE
)
_MEANT_OTHERWISE = lazy(r"[a-z]+(?=[.,;:)\]]{0,2}(?:\s|\Z))|\([a-z*]\w*[:,)]")
_EMPTY = lazy(r"(?:[Nn]one|null|undefined|nil|true|false|True|False)(?![\w.\-(])")


class Spot(NamedTuple):
    """A name in a text, and where its value begins."""

    word: str
    """What of the name tells that it is secret."""
    begin: int
    """Where the name begins."""
    value: int
    closing: str
    """The quotation mark after the name, if it has one."""
    how: str
    """What leads to the value: ``header``, ``phrase``, ``sign``, ``pair``, ``argument``, ``tag``,
    ``call`` or ``said``."""
    weak: bool
    alone: bool
    """Whether the word is the whole name."""


def is_prose(text: str) -> bool:
    """Tell whether a text begins with a word that goes on with a sentence."""
    return _PROSE.match(text) is not None


def plain_letters(text: str) -> str:
    """Return a text with the letters that it is read as: full-width ones are a keyboard's.

    What is no letter of ASCII in another form stays: an ellipsis is not three dots.
    """
    if text.isascii():
        return text
    return "".join(map(_plain, text.translate(_UNSEEN)))


@lru_cache(maxsize=4_096)
def _plain(sign: str) -> str:
    found = sign if sign.isascii() else normalize("NFKC", sign)
    return found if len(found) == 1 and found.isascii() else sign


def is_secret(name: str) -> bool:
    """Tell whether a thing with this name should not be shown."""
    name = plain_letters(name)
    return _next_name(name, _small(name), 0) is not None


def _small(text: str) -> str:
    """Return a text in small letters, each at its place."""
    small = text.lower()
    return small if len(small) == len(text) else text.translate(_SMALL)


_UNSEEN = dict.fromkeys([0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])
"""Letters that nobody sees, and that part a word."""
_SMALL = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _next_name(text: str, small: str, at: int) -> tuple[int, int, bool] | None:
    """Return begin, end and weakness of the next word that names a secret."""
    while (hint := _HINT.search(small, at)) is not None:
        begin, at = hint.start(), hint.end()
        found = _ALWAYS.match(text, begin)
        weak = False
        if found is None:
            found = _after_another(text, begin)
        if found is None:
            found = _MOSTLY.match(text, begin)
            weak = True
        if found is not None:
            return begin, found.end(), weak
    return None


def _after_another(text: str, begin: int) -> re.Match[str] | None:
    """Match what is secret behind certain words only: an API key, a user's pass."""
    found = _AFTER_ANOTHER.match(text, begin)
    if found is None:
        return None
    words = {"k": _KEYS, "t": _PLURAL, "p": _OWNERS}[found[0][0].lower()]
    return found if words.search(text[max(0, begin - 14) : begin]) else None


def is_harmless(text: str, spot: Spot) -> bool:
    """Tell whether what stands there is too plain to be the secret that the name speaks of."""
    if spot.how == "argument" and _PROSE.match(text, spot.value):
        return True
    if not spot.closing and text[spot.value - 1 : spot.value] in {" ", ":"}:
        if _DECLARED.match(text, spot.value):
            return True
        if spot.weak and spot.alone and _MEANT_OTHERWISE.match(text, spot.value):
            return True
    return (_PLAIN if spot.weak else _EMPTY).match(text, spot.value) is not None


def spots(text: str) -> Generator[Spot, int | None, None]:
    """Yield the names of secrets that have a value beside them; send where to go on."""
    small, at = _small(text), 0
    while (name := _next_name(text, small, at)) is not None:
        spot = _spot(text, name, at)
        at = name[1]
        if spot is not None:
            at = max(at, (yield spot) or at)


def _spot(text: str, name: tuple[int, int, bool], at: int) -> Spot | None:
    begin, end, weak = name
    start, word, lowest = begin, text[begin:end], max(at, begin - 60)
    while begin > lowest and (text[begin - 1].isalnum() or text[begin - 1] in "_.-"):
        begin -= 1
    closing = _CLOSING.match(text, end)
    quote = closing[0] if closing is not None else ""
    led = _led(text, begin, end + len(quote), word, quote)
    if led is None:
        return None
    return Spot(word, begin, led[1], quote, led[0], weak, alone=begin == start)


def _led(text: str, begin: int, end: int, word: str, quote: str) -> tuple[str, int] | None:
    """Return what leads to a value from a name, and where that begins."""
    bracket = _BRACKET.match(text, end)
    after = end if bracket is None else bracket.end()
    annotated = _ANNOTATED.match(text, after)
    if annotated is not None:
        return "sign", annotated.end()
    sign = _SIGN.match(text, after)
    if sign is not None:
        named = _NAMED.match(text, sign.end())
        if named is not None:
            return "sign", named.end()
        colon = ":" in sign[0] and not quote and bracket is None
        header, phrase = colon and _HEADER.match(word), colon and _PHRASE.match(word)
        return "header" if header else "phrase" if phrase else "sign", sign.end()
    return _beside(text, begin, end, quote) if quote else _behind(text, begin, end, word)


def _is_option(text: str, begin: int) -> bool:
    return text[begin : begin + 1] == "-" and not text.startswith("--no-", begin)


def _behind(text: str, begin: int, end: int, word: str) -> tuple[str, int] | None:
    """Return where the value of a name is that has neither a sign nor quotation marks."""
    if _CALLED.match(text, end):
        return "call", end
    if _is_option(text, begin) and (space := _SPACE.match(text, end)) is not None:
        return "argument", space.end()
    if (value := _VALUE.match(text, end)) is not None:  # <password value="…">
        return "sign", value.end()
    if text[begin - 1 : begin] == "<" and (tag := _TAG.match(text, end)) is not None:
        return "tag", tag.end()
    spoken = _SPOKEN.fullmatch(word) is not None
    said = (_SAID if spoken else _SAID_TO_BE).match(text, end)
    if said is not None and not (spoken and _ORDINARY.match(text, said.end())):
        return "said", said.end()
    return None


def _beside(text: str, begin: int, end: int, quote: str) -> tuple[str, int] | None:
    """Return where the value of a quoted name is: the other half of a pair, the next argument."""
    value = _VALUE.match(text, end)
    if value is not None:
        return "sign", value.end()
    comma = _COMMA.match(text, end)
    if comma is None:
        return None
    if _is_option(text, begin):
        return "pair", comma.end()
    before = text[max(0, begin - len(quote) - 12) : max(0, begin - len(quote))]
    return ("pair", comma.end()) if _BEFORE.search(before) else None
