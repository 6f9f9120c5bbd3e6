"""The map in a notebook: a server in the background, shown in a frame."""

import html
import os
from pathlib import Path

from xsr.core import checks
from xsr.core.types import XarrayObject
from xsr.view.map.layers import Shown
from xsr.view.map.server import Server, is_loopback

HUB = "JUPYTERHUB_SERVICE_PREFIX"
"""Variable that JupyterHub sets: the path of a user's server, to which jupyter-server-proxy adds ``proxy/PORT/``."""


class Explorer:
    """A map that is open; in a notebook it shows itself.

    Parameters
    ----------
    server
        Its server, started.
    proxy
        Path or address below which browsers find ports of this machine; None if they reach them directly.
    height
        Height of the frame in pixels.
    """

    def __init__(self, server: Server, *, proxy: str | None, height: int) -> None:
        self._server = server
        self._proxy = proxy
        self._height = height

    @property
    def url(self) -> str:
        """Address of the page, for a browser."""
        if self._proxy is None:
            return self._server.url
        return f"{self._proxy.rstrip('/')}/{self._server.port}/{self._server.secret}/"

    def close(self) -> None:
        """End the server; the page no longer works."""
        self._server.close()

    def __enter__(self) -> "Explorer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"map at {self.url}, until .close()"

    def _repr_html_(self) -> str:
        address = html.escape(self.url, quote=True)
        return (
            f'<iframe src="{address}" title="map" width="100%" height="{self._height}" style="border:0"'
            f' allow="fullscreen"></iframe><div><a href="{address}" target="_blank" rel="noopener">'
            "Open the map in a tab</a></div>"
        )


def explore(
    cube: XarrayObject,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    model: str | Path | None = None,
    title: str | None = None,
    proxy: str | None = None,
    height: int = 640,
) -> Explorer:
    """Open a map of a cube whose tiles are super-resolved when they are looked at.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x), with a CRS; lazy ones are read where
        the map is looked at.
    port
        Port of the server, by default a free one.
    host
        Address that the server is bound to. By default it is reached from this machine alone.
    model
        Weights of the tiles, by name or path; by default those of `xsr.liif`.
    title
        Name of the cube on the page; by default its own.
    proxy
        Path or address below which your browser reaches ports of this machine, where it is another: with
        jupyter-server-proxy ``"/proxy"`` (of JupyterHub ``/user/NAME/proxy``, which is found by itself).
    height
        Height of the map in a notebook in pixels.

    Returns
    -------
    Explorer
        In a notebook it shows the map; ``.url`` is its address, ``.close()`` ends it.

    Raises
    ------
    ParameterError
        If the packages of the map are not installed, or the port is not free.
    CubeError, GridError, BandError
        If the cube breaks the contract, see `xsr.liif`.

    Notes
    -----
    The page can also fetch data from a catalogue, sharpen an area and download it; see the page *Look at a cube on a
    map* of the documentation. The address holds a secret, and whoever knows it may use the page. The page loads nothing
    from the internet.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> with synthetic_cube(size=(32, 32)).sr.explore() as shown:
    ...     shown.url.startswith("http://127.0.0.1:")
    True
    """
    found = os.environ.get(HUB) if is_loopback(host) else None
    if proxy is None and found is not None:
        proxy = f"{found.rstrip('/')}/proxy"
    shown = Shown(title or str(getattr(cube, "name", None) or "cube"), cube, None if model is None else str(model))
    checks.whole("height", height, least=100)
    _ = shown.tiles  # what is wrong with the cube is said here
    server = Server({"cube": shown}, host=host, port=port, hosts=() if proxy is None else ("*",))
    server.start()
    return Explorer(server, proxy=proxy, height=height)
