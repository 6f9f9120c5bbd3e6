"""Who may talk to the server, and what its pages may load: the checks of every request."""

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names of this machine."""
ANY = "*"
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
"""A page loads nothing from elsewhere, and its address, which holds a secret, is not passed on."""


class Guard:
    """Refuses requests that name another host, as of a page elsewhere whose name was made to lead here.

    It also refuses those whose path does not begin with the secret of the server, which other users of the machine do
    not know.

    Parameters
    ----------
    app
        The application, which is given the path after the secret.
    secret
        First part of all paths.
    hosts
        Names of the server, or ``*`` for any.
    """

    def __init__(self, app: ASGIApp, *, secret: str, hosts: Collection[str]) -> None:
        self._app = app
        self._secret = secret
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refused = self._refuse(scope)
            await (refused or self._app)(self._below(scope), receive, _with_headers(send))

    def _refuse(self, scope: Scope) -> ASGIApp | None:
        host = host_of(Headers(scope=scope).get("host", ""))
        if ANY not in self._hosts and host not in self._hosts:
            return PlainTextResponse("this server has another name; use the address that it printed", 421)
        if not hmac.compare_digest(_first(scope["path"]).encode(), self._secret.encode()):
            return PlainTextResponse("there is nothing here; use the whole address that was printed", 404)
        return None

    def _below(self, scope: Scope) -> Scope:
        prefix = f"/{_first(scope['path'])}"
        return {**scope, "path": scope["path"][len(prefix) :] or "/", "raw_path": None}


def host_of(header: str) -> str:
    """Name in a Host header, without its port.

    Examples
    --------
    >>> host_of("localhost:8765"), host_of("[::1]:8765"), host_of("example.com")
    ('localhost', '::1', 'example.com')
    """
    name = header.strip().lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def _first(path: str) -> str:
    return path.removeprefix("/").partition("/")[0]


def _with_headers(send: Send) -> Send:
    async def extended(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return extended
