"""The HTTP server: waitress on loopback, with the header names that S3's metadata needs."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any

import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, get_header_lines
from waitress.task import WSGITask

#: More threads than concurrent clients: a handler may call this cloud again, and an invocation may last a minute.
THREADS = 96

#: Every client keeps its connections open; waitress by default accepts at most 100.
_CONNECTIONS = 4000

#: Bytes, more than S3's largest part.
_MAX_BODY = 6 * 2**30

#: The header in which the parser stores the names of preserved headers, for :func:`pop_preserved_names`.
_NAMES = "X_PRESERVED_NAMES"


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """A parser that keeps ``x-amz-meta-my_key``; waitress drops every header with an underscore in its name."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if not self.content_length and not self.chunked:
            # No body follows; waiting for one would leave the request unfinished forever.
            self.expect_continue = False
        self.headers.pop(_NAMES, None)
        names = []
        for line in get_header_lines(header_plus.partition(b"\r\n")[2]):
            name, _, value = line.decode("latin-1").partition(":")
            if "_" in name and name.lower().startswith("x-amz-meta-"):
                names.append(name)
                self.headers[name.upper().replace("-", "_")] = value.strip(" \t")
        if names:
            self.headers[_NAMES] = ",".join(names)


class _Task(WSGITask):  # type: ignore[misc]
    """A task that writes the names of metadata in lower case, as S3 does; waitress capitalises every header's name."""

    def build_response_header(self) -> bytes:
        head: bytes = super().build_response_header()
        return re.sub(rb"\r\nX-Amz-Meta-[^:]*", lambda name: name[0].lower(), head)


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser
    task_class = _Task


def pop_preserved_names(environ: dict[str, Any]) -> dict[str, str]:
    """Return the names, as sent, of headers with an underscore in their name, by their key in ``environ``.

    Args:
        environ: The WSGI environment of the request; the parser's list of these names is removed from it.
    """
    names = environ.pop(f"HTTP_{_NAMES}", "")
    return {f"HTTP_{name.upper().replace('-', '_')}": name for name in names.split(",") if name}


def create_server(application: Callable[..., Any], listening: socket.socket) -> Any:
    """Return a server of the application on a listening socket; its ``run`` serves until the process ends.

    Args:
        application: The WSGI application.
        listening: The socket, bound and listening.
    """
    server = waitress.create_server(
        application,
        sockets=[listening],
        threads=THREADS,
        ident=None,
        max_request_body_size=_MAX_BODY,
        connection_limit=_CONNECTIONS,
        # select() is limited to 1024 descriptors.
        asyncore_use_poll=True,
        channel_timeout=600,
        clear_untrusted_proxy_headers=True,
    )
    server.channel_class = _Channel
    return server
