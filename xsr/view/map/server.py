"""The server of the map: a socket that is bound at once, and uvicorn on it, in a thread or until interrupted."""

import secrets
import socket
import threading
from collections.abc import Collection
from ipaddress import ip_address

from xsr.core import checks
from xsr.core.errors import ParameterError
from xsr.view.map.layers import Shown
from xsr.view.map.page_files import require

LOOPBACK = "127.0.0.1"


class Server:
    """A page on a port of this machine.

    Parameters
    ----------
    cubes
        What it shows, by name.
    host
        Name or address that it is bound to.
    port
        Port, 0 for a free one.
    hosts
        Further names that it has in the addresses of browsers, such as that of a proxy; ``*`` for any.

    Raises
    ------
    ParameterError
        If the packages of the map are missing, or the port is not free.
    """

    def __init__(
        self, cubes: dict[str, Shown], *, host: str = LOOPBACK, port: int = 0, hosts: Collection[str] = ()
    ) -> None:
        require()
        from xsr.view.map.application import create_application
        from xsr.view.map.guard import LOCAL
        from xsr.view.map.loop import Loop

        self._socket = _bind(host, port)
        self.secret = secrets.token_urlsafe(16)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        origin = f"http://{LOOPBACK}" if is_loopback(host) else ""
        application = create_application(cubes, secret=self.secret, hosts=(*LOCAL, host, *hosts), origin=origin)
        self._loop = Loop(application, application.state.stop)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address of the page. It holds a secret: whoever has it may use the page."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}/{self.secret}/"

    def run(self) -> None:
        """Serve until interrupted."""
        self._loop.run(sockets=[self._socket])

    def start(self) -> None:
        """Serve in a thread; requests wait until it is ready."""
        self._thread = threading.Thread(target=self.run, name="xsr-map", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the server and everything that its pages made."""
        self._loop.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._socket.close()


def is_loopback(host: str) -> bool:
    """Whether a name or address is reached from this machine alone.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    if checks.whole("port", port, least=0) > 65535:
        raise ParameterError(f"port={port}; expected 0 to 65535, 0 for any that is free.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise ParameterError(
            f"{host}:{port} cannot be served: {error.strerror or error}. Choose another port, or port 0 for a free one."
        ) from error
