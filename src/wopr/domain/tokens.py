"""Well-known secrets that are known by their own look: tokens of services, keys, hashes.

A table of ours comes first. Where the extra ``wopr[secrets]`` is installed, the rules of
detect-secrets are asked as well, about single words: some of them are slow on long texts.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from wopr.domain.guarded import safe_text
from wopr.domain.lazypattern import lazy

_LIBRARY = "detect_secrets.plugins"
_RULES: list[re.Pattern[str]] = []
LONGEST_WORD = 512
"""Characters of a word that the library is asked about."""
_TOO_BROAD = frozenset(
    {
        "BasicAuthDetector",
        "IPPublicDetector",
        "KeywordDetector",
        "NpmDetector",
        "PrivateKeyDetector",
    }
)
"""Detectors of the library that ask for a name beside the secret, as ours do, or are slow."""

_FORMS = (
    # of clouds
    r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{12,20}",  # Amazon
    r"AIza[\w\-]{20,60}|ya29\.[\w\-]{10,2000}|GOCSPX-[\w\-]{16,64}|1//0[\w\-]{20,200}",  # Google
    r"[A-Za-z0-9+/]{86}==|\w{3}[78]Q~[\w.~\-]{30,40}",  # Azure
    r"LTAI[A-Za-z0-9]{12,24}|AKID[A-Za-z0-9]{13,40}",  # Alibaba, Tencent
    r"do[oprt]_v1_[0-9a-f]{32,80}|hv[sbr]\.[\w\-]{20,300}|[A-Za-z0-9]{14}\.atlasv1\.[\w\-]{40,100}",
    r"dapi[0-9a-f]{32}|fo1_[\w\-]{40,60}|fm[12][ar]?_[\w+/=\-]{40,2000}|nfp_\w{30,60}",
    r"pul-[0-9a-f]{40}|tskey-[a-z]{2,16}-[\w\-]{10,80}|pscale_(?:tkn|pw|oauth)_[\w.\-]{20,80}",
    r"sb[ps]_\w{30,60}|sb_secret_\w{16,60}|dp\.(?:pt|st|ct|sa|scim|audit)\.[\w\-.]{30,80}",
    # of code and packages
    r"gh[pousr]_[A-Za-z0-9_]{12,255}|github_pat_\w{20,255}",
    r"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct|wt)-[\w.\-]{16,300}|GR1348941[\w\-]{16,60}",
    r"npm_[A-Za-z0-9]{30,60}|pypi-[\w\-]{16,300}|rubygems_[0-9a-f]{40,60}|cio[A-Za-z0-9]{32}",
    r"oy2[a-z0-9]{43}|dckr_[op]at_[\w\-]{20,60}|AKC[pA-Za-z0-9][A-Za-z0-9]{40,100}|CFPAT-[\w\-]{30,60}",
    r"ATATT3[\w\-=]{40,300}|ATBB[A-Za-z0-9]{24,40}|sq[pua]_[0-9a-f]{40}|CCIPAT_\w{20,80}",
    r"bk(?:ua|ct|pt)_\w{30,60}|lin_(?:api|oauth)_\w{30,80}|figd_[\w\-]{30,60}",
    r"wopr_[\w\-]{43}(?![\w\-])|Wy[IJ][\w\-]{90,700}={0,2}\.[0-9a-f]{64}",  # wopr
    # of models
    r"sk-(?:proj-|ant-|svcacct-|admin-|or-v1-|lf-)?[\w\-]{16,300}|hf_[A-Za-z0-9]{20,60}",
    r"gsk_[A-Za-z0-9]{20,80}|r8_[A-Za-z0-9]{20,60}|xai-[\w\-]{20,120}|pplx-\w{20,80}",
    r"lsv2_[a-z]{2}_\w{20,120}|nvapi-[\w\-]{20,100}",
    # of money, mail, talk
    r"[srp]k_(?:live|test|prod)_\w{8,200}|whsec_[\w+/=\-]{16,100}|rzp_(?:live|test)_\w{10,30}",
    r"sq0(?:atp|csp|idp)-[\w\-]{20,60}|EAAA[\w\-]{50,100}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32,60}",
    r"access_token\$(?:production|sandbox)\$\w{16}\$\w{32}|access-(?:sandbox|production)-[0-9a-f\-]{36}",
    r"SG\.[\w\-]{16,40}\.[\w\-]{16,60}|key-[0-9a-f]{32}|[0-9a-f]{32}-us[0-9]{1,2}|xkeysib-[\w\-]{40,120}",
    r"(?:SK|AC)[0-9a-f]{32}|EZ[AT]K\w{40,60}|pat[A-Za-z0-9]{14}\.[0-9a-f]{40,80}",
    r"xox[a-z](?:\.xox[a-z])?-[\w\-]{8,300}|xapp-[0-9]-[\w\-]{10,200}|xoxe-[\w\-]{10,200}",
    r"(?:bot)?[0-9]{8,10}:[A-Za-z0-9_\-]{35}",  # Telegram
    r"[MNO][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,40}",  # Discord
    r"EAA[A-Za-z0-9]{60,300}|(?:secret|ntn)_[A-Za-z0-9]{40,60}|PMAK-[\w\-]{30,80}|sl\.[\w\-]{60,300}",
    # of those who watch
    r"NRAK-[A-Z0-9]{20,40}|gl(?:sa|c)_[\w+/=\-]{20,300}|sntry[su]_[\w+/=\-]{30,300}",
    r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}|sgp_\w{40,80}|rdme_\w{40,80}|ops_eyJ[\w\-]{40,2000}",
    # of everybody: JSON web tokens, password hashes, age
    r"eyJ[\w\-]{6,}\.[\w\-]{4,}(?:\.[\w\-]*){0,3}",
    r"\$(?:2[abxy]?|1|5|6|7|apr1|y|gy|scrypt|pbkdf2[\w\-]{0,10})\$[\w./+=$\-]{20,300}",
    r"pbkdf2_sha(?:1|256)\$[0-9]+\$[\w+/=$]{20,200}|AGE-SECRET-KEY-1[0-9A-Z]{40,60}",
)
_KNOWN = lazy(rf"(?<![A-Za-z0-9])(?:{'|'.join(_FORMS)})")
_HOOKS = lazy(
    r"(hooks\.slack\.com/(?:services|workflows|triggers)/"
    r"|discord(?:app)?\.com/api/webhooks/|\.webhook\.office\.com/webhookb2/)[\w\-/@.]{1,400}"
)
_ARGON = lazy(r"\$argon2(?:id|i|d)\$[\w./+=,$\-]{20,300}")
_WORD = lazy(r"[\w\-.+/=$:~@&?%#!]{16,}")
"""What is long enough to be a token. Most words are not: the rules are for the others."""


def mask_tokens(text: str, shown: str) -> str:
    """Return the text with ``shown`` in the place of each well-known secret."""
    if "$argon2" in text:
        text = _ARGON.sub(shown, text)
    return _WORD.sub(lambda word: _masked_word(word[0], shown), text)


def _masked_word(word: str, shown: str) -> str:
    word = _HOOKS.sub(rf"\1{shown}", _KNOWN.sub(shown, word))
    return _asked(word, shown) if _RULES and len(word) <= LONGEST_WORD else word


def _asked(word: str, shown: str) -> str:
    """Ask the library about one word; one without a digit is none of its tokens."""
    if not any(map(str.isdigit, word)):
        return word
    for rule in _RULES:
        found = rule.search(word)
        if found is not None:
            group = 1 if rule.groups == 1 and found[1] else 0
            word = f"{word[: found.start(group)]}{shown}{word[found.end(group) :]}"
    return word


@functools.cache
def load_library_rules() -> str | None:
    """Take the library's rules for tokens too from here on, where it is installed.

    That takes a tenth of a second, so it is done before workers start, not when a text is masked,
    which may be in any thread and be interrupted. Returns why they can't be used, if they can't.
    """
    if find_spec("detect_secrets") is None:
        return None
    try:
        _load(importlib.import_module(_LIBRARY))
    except Exception as error:  # noqa: BLE001 - a library that is broken, of another version
        return safe_text(error)
    return None


def _load(plugins: ModuleType) -> None:
    for module in pkgutil.iter_modules(plugins.__path__):
        loaded: dict[str, Any] = vars(importlib.import_module(f"{_LIBRARY}.{module.name}"))
        for name, kind in loaded.items():
            if name.endswith("Detector") and name not in _TOO_BROAD:
                _RULES.extend(rule for rule in _denylist(kind) if rule not in _RULES)


def _denylist(kind: Callable[[], Any]) -> list[re.Pattern[str]]:
    if isinstance(getattr(kind, "denylist", None), property):  # a base class
        return []
    return [rule for rule in getattr(kind, "denylist", ()) if isinstance(rule, re.Pattern)]
