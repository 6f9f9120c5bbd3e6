"""The web application: tiles and values of cubes, and the work that a page requests, as ASGI.

All addresses below the secret (see `xsr.view.map.guard`); those of a session hold its key.

=========================================  ===========================================================
GET  ``/``                                 the page
GET  ``/page/FILE``, ``/leaflet/FILE``     its files
POST ``/sessions``                         a new session
GET  ``/s/KEY``                            its cubes, files and job
GET  ``/s/KEY/tiles/CUBE/LAYER/Z/X/Y``     a tile as PNG; ``t``, ``bands``, ``stretch`` in the query
GET  ``/s/KEY/point/CUBE``                 values at ``lon``, ``lat``, ``t``
GET  ``/s/KEY/series/CUBE``                values of all dates there
POST ``/s/KEY/jobs/KIND``                  begin to search, fetch, sharpen or pack
GET, DELETE ``/s/KEY/job``                 how far it is; cancel it
GET  ``/s/KEY/files/NAME``                 a file that it made
=========================================  ===========================================================
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from xsr.core.errors import ParameterError, XsrError
from xsr.core.redact import scrub
from xsr.view.map import page_files
from xsr.view.map.guard import Guard
from xsr.view.map.layers import DEEPEST, Shown, View, moment, number, plain
from xsr.view.map.sessions import Session, Sessions
from xsr.view.map.tasks import KINDS, Context

LARGEST = 5_000_000
"""Bytes of what a page may send: an area, at most."""
WAITING = 128
"""Tiles that wait for their turn at a time, the newest first; see `xsr.view.tiles`."""
GONE = 499
"""Status, of nginx, for whoever went away."""
Endpoint = Callable[[Request], Awaitable[Response]]


def create_application(cubes: dict[str, Shown], *, secret: str, hosts: Collection[str], origin: str) -> Starlette:
    """Make the application.

    Parameters
    ----------
    cubes
        Cubes that every page shows.
    secret
        First part of all addresses.
    hosts
        Names that the server has in addresses, or ``*``.
    origin
        Address of the server, as an origin of catalogues: see `xsr.view.map.acquire.Wish.parse`.
    """
    sessions = Sessions(cubes)
    service = Service(sessions, origin)
    application = Starlette(
        routes=service.routes(),
        middleware=[Middleware(Guard, secret=secret, hosts=hosts)],
        exception_handlers={XsrError: _refused, ValueError: _refused, HTTPException: _failed},
        lifespan=service.lifespan,
    )
    application.state.stop, application.state.sessions = service.stop, sessions
    return application


class Service:
    """What the addresses of the application lead to."""

    def __init__(self, sessions: Sessions, origin: str) -> None:
        self._sessions = sessions
        self._origin = origin
        self._threads = CapacityLimiter(WAITING)
        self._ending = threading.Event()

    def stop(self) -> None:
        """Give up the tiles that wait for their turn."""
        self._ending.set()

    def routes(self) -> list[Route | Mount]:
        """All addresses."""
        session = [
            Route("/", self.state),
            Route("/tiles/{cube}/{layer}/{z:int}/{x:int}/{y:int}", self.tile),
            Route("/point/{cube}", self.point),
            Route("/series/{cube}", self.series),
            Route("/jobs/{kind}", self.begin, methods=["POST"]),
            Route("/job", self.job, methods=["GET", "DELETE"]),
            Route("/files/{name}", self.file),
        ]
        return [
            Route("/", self.page),
            Route("/sessions", self.open, methods=["POST"]),
            Mount("/page", StaticFiles(directory=page_files.OWN)),
            Mount("/leaflet", StaticFiles(directory=page_files.leaflet())),
            Mount("/s/{key}", routes=session),
        ]

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """End all sessions with the server."""
        yield
        await to_thread.run_sync(self._sessions.end)

    async def page(self, _: Request) -> Response:
        """Send the page."""
        return FileResponse(page_files.OWN / "index.html", headers={"cache-control": "no-store"})

    async def open(self, _: Request) -> Response:
        """Begin a session."""
        return JSONResponse({"session": self._sessions.begin().key})

    async def state(self, request: Request) -> Response:
        """Say what a session has."""
        session = self._session(request)
        cubes = dict(session.cubes)
        described = await to_thread.run_sync(lambda: {name: _described(shown) for name, shown in cubes.items()})
        return JSONResponse({"cubes": described, "files": list(session.files), "job": _job(session)})

    async def tile(self, request: Request) -> Response:
        """Compute a tile, unless whoever requested it goes away before its turn."""
        shown, layer = self._shown(request), request.path_params["layer"]
        place = [request.path_params[axis] for axis in "zxy"]
        check_tile(*place)
        view = View.parse(request.query_params)
        gone = threading.Event()
        draw = partial(
            shown.png, *place, layer=layer, view=view, cancelled=lambda: gone.is_set() or self._ending.is_set()
        )
        async with _watched(request, gone):
            try:
                content = await to_thread.run_sync(draw, limiter=self._threads)
            except CancelledError:
                return Response(status_code=GONE)
        return Response(content, media_type="image/png", headers=KEEP)

    async def point(self, request: Request) -> Response:
        """Send the values at a place."""
        shown, (lon, lat) = self._shown(request), _place(request)
        t = moment(request.query_params.get("t"))
        return JSONResponse(plain(await to_thread.run_sync(lambda: shown.tiles.point(lon, lat, t=t))))

    async def series(self, request: Request) -> Response:
        """Send the values of all dates at a place."""
        shown, (lon, lat) = self._shown(request), _place(request)
        return JSONResponse(plain(await to_thread.run_sync(lambda: shown.tiles.series(lon, lat))))

    async def begin(self, request: Request) -> Response:
        """Begin a job."""
        session, kind = self._session(request), request.path_params["kind"]
        if kind not in KINDS:
            raise HTTPException(404, f"there is no job {kind!r}; expected one of {', '.join(KINDS)}")
        context = Context(self._sessions, session, self._origin)
        given = await _body(request)
        await to_thread.run_sync(lambda: KINDS[kind](context, given))
        return JSONResponse(_job(session), 202)

    async def job(self, request: Request) -> Response:
        """Say how far the job of a session is, or cancel it."""
        session = self._session(request)
        if request.method == "DELETE" and session.job is not None:
            session.job.cancel()
        return JSONResponse(_job(session))

    async def file(self, request: Request) -> Response:
        """Send a file that the session made."""
        path = self._session(request).files.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404, "this page has no such file")
        return FileResponse(path, filename=path.name)

    def _session(self, request: Request) -> Session:
        session = self._sessions.get(request.path_params["key"])
        if session is None:
            raise HTTPException(404, "this session has ended; load the page again")
        return session

    def _shown(self, request: Request) -> Shown:
        shown = self._session(request).cubes.get(request.path_params["cube"])
        if shown is None:
            raise HTTPException(404, "this page has no such cube")
        return shown


def _described(shown: Shown) -> dict[str, Any]:
    """Describe a cube for the page; one that cannot be read by the reason."""
    try:
        return shown.describe()
    except (XsrError, ValueError, OSError) as error:
        return {"title": shown.title, "error": scrub(str(error))}


KEEP = {"cache-control": "private, max-age=3600"}
"""The address of a tile says all that its pixels depend on."""


@asynccontextmanager
async def _watched(request: Request, gone: threading.Event) -> AsyncIterator[None]:
    """Set an event when whoever sent a request goes away."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watcher.cancel()


def check_tile(z: int, x: int, y: int) -> None:
    """Refuse a tile that no map has.

    Raises
    ------
    ParameterError
        If its zoom or its place is out of range.
    """
    if z > DEEPEST:
        raise ParameterError(f"zoom {z}; expected 0 to {DEEPEST}.")
    if not (x < 2**z and y < 2**z):
        raise ParameterError(f"tile {x}, {y} at zoom {z}; expected numbers below {2**z}.")


def _place(request: Request) -> tuple[float, float]:
    lon, lat = (number(name, request.query_params.get(name)) for name in ("lon", "lat"))
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ParameterError(f"lon={lon:g}, lat={lat:g}; expected degrees, -180 to 180 and -90 to 90.")
    return lon, lat


def _job(session: Session) -> dict[str, Any] | None:
    return None if session.job is None else dict(plain(session.job.describe()))


async def _body(request: Request) -> dict[str, Any]:
    """Object in JSON that a page sends, of limited size."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "expected JSON (content-type: application/json)")
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > LARGEST:
            raise HTTPException(413, f"more than {LARGEST / 1e6:g} MB were sent; expected less: a simpler area")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ParameterError("what was sent is no JSON; expected an object.") from error
    if not isinstance(found, dict):
        raise ParameterError(f"a JSON {type(found).__name__} was sent; expected an object.")
    return found


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": scrub(str(error))}, 400)


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)
