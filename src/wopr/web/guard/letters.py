"""What somebody is told who does not come in, and what mends it."""

from __future__ import annotations

BEARER = {"WWW-Authenticate": 'Bearer realm="wopr"'}
NOT_MEANT = (
    "The Host header of this request is no name of this server. An IP address, localhost and names "
    "without a dot are; allow others by WOPR_TASKS_HTTP_HOSTS, separated by commas. A proxy has to "
    "pass the Host that it was asked for."
)
FOREIGN = (
    "A page of another origin had this sent, as the browser says in Origin or Sec-Fetch-Site, so "
    "nothing was done. If a proxy stands in between, it has to pass the Host header as it is."
)
NOBODY = (
    "Nobody is known by this request. Send `Authorization: Bearer` and a token, which whoever runs "
    "the queue makes with: wopr token create NAME --role read|operate|admin"
)
WRONG = (
    "That token lets nobody in: it is mistyped, has expired, or was revoked. The tokens that there "
    "are: wopr token list"
)
TOO_MANY_WRONG = "Too many wrong tokens came from your address. Wait a little, then try again."
MANY_UNDER_WAY = (
    "So many requests of yours are being answered at this moment that others would find no room. "
    "Close streams that nobody reads any more, or give each program a token of its own."
)
MANY_SIGN_IN = "More sign in at this moment than may. Wait a little, then try again."
TOO_MANY = "There are more requests of yours than are answered. Wait a little, and send fewer."
NO_CSRF = (
    "This change does not say that one of our own pages sends it, so nothing was done. Load the "
    "page anew. A program sends JSON without cookies, or the page's token as X-CSRF-Token."
)
LARGE_HEAD = (
    "The headers of this request are more than 100, or have more than 32 KiB. Cookies of other "
    "applications under this name may be why: give this one a name of its own."
)
LONG_PATH = "The path of this request has more than 16,384 characters, with what follows a ?."
