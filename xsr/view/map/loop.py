"""The loop of requests: uvicorn, whose end lets go of tiles that nobody waits for any more."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

LAST_WORDS = 30
"""Seconds that running requests are given when the server ends."""


class Loop(uvicorn.Server):
    """Serves an application until ``should_exit`` is set, or it is interrupted.

    Parameters
    ----------
    application
        The application.
    stop
        Called when the end begins: requests that wait are to give up.
    """

    def __init__(self, application: ASGIApp, stop: Callable[[], None]) -> None:
        quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
        kind: dict[str, Any] = {"loop": "asyncio", "http": "h11", "ws": "none"}
        super().__init__(uvicorn.Config(application, timeout_graceful_shutdown=LAST_WORDS, **quiet, **kind))
        self._stop = stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, once what is being computed is there."""
        self._stop()
        await super().shutdown(sockets)
