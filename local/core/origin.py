"""The check of a request's origin, which refuses what a web page can make a browser send.

A browser sends the page's own host in ``Host`` if a DNS name was rebound to this machine, and the page's origin in
``Origin`` or ``Sec-Fetch-Site`` if it sends a form or a script's request. No script can change these headers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local.core.errors import AwsError

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:]+\]|[^:\[\]]*)(?::\d{1,5})?")
_OWN = ("127.0.0.1", "localhost", "[::1]")
#: The suffix of S3's virtual-hosted addresses, ``<bucket>.localhost``.
_BELOW = ".localhost"

#: A browser's ``Sec-Fetch-Site`` for a request by a page of the same origin, or by the user.
_OWN_SITES = ("same-origin", "none")


def check_origin(environ: WSGIEnvironment) -> str:
    """Refuse a request that is not addressed to this machine by name, or that another web page has caused.

    Args:
        environ: The WSGI environment of the request.

    Returns:
        The bucket in the host's name, or an empty string.

    Raises:
        AwsError: ``AccessDenied``, with the header that is refused.
    """
    host = environ.get("HTTP_HOST", "")
    match = _HOST.fullmatch(host)
    name = match["name"].lower() if match else ""
    if name not in _OWN and not (name.endswith(_BELOW) and len(name) > len(_BELOW)):
        raise AwsError(
            "AccessDenied",
            f"Host '{host[:100]}' is not this local cloud's: expected {', '.join(_OWN)}, or <bucket>{_BELOW} for S3.",
            403,
        )
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin != f"http://{host}":
        raise AwsError(
            "AccessDenied", f"Origin '{origin[:100]}' is a web page's: the local cloud serves programs only.", 403
        )
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None and site not in _OWN_SITES:
        raise AwsError(
            "AccessDenied",
            f"Sec-Fetch-Site '{site[:40]}': the local cloud answers no request of another web page.",
            403,
        )
    return name.removesuffix(_BELOW) if name not in _OWN else ""
