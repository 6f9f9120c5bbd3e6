"""The file of a user-defined function."""

from collections.abc import Sequence
from pprint import pformat
from typing import Any

from xsr._version import __version__
from xsr.core.errors import ParameterError
from xsr.openeo.request import Request, parse
from xsr.openeo.windows import sides

RELEASE = __version__.partition(".dev")[0]
REQUIREMENTS = (f"xarray-sr=={__version__}" if RELEASE == __version__ else f"xarray-sr>={__version__}",)
"""What the file asks a back end to install: the release that wrote it, of which its numbers are."""

TEMPLATE = '''\
# /// script
# dependencies = [
{dependencies}
# ]
# ///
"""openEO: {text}, computed by xsr.

    udf = openeo.UDF.from_file(PATH, context={{{context}}})
    px = lambda value: [{{"dimension": dim, "value": value, "unit": "px"}} for dim in ("x", "y")]
    cube.apply_neighborhood(udf, size=px({size}), overlap=px({overlap}))
"""

import xarray
import xsr.openeo

SETTINGS = {settings}


def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    return xsr.openeo.apply_datacube(cube, context, SETTINGS)


def apply_metadata(metadata, context):
    return xsr.openeo.apply_metadata(metadata, context, SETTINGS)
'''


def udf(
    operation: str = "liif", *, size: int | None = None, requirements: Sequence[str] | None = None, **settings: Any
) -> str:
    """Write a user-defined function of openEO that computes an operation of one cube.

    Parameters
    ----------
    operation
        ``liif``, ``sisr``, ``interpolate``, ``sharpen`` or ``degrade``.
    size
        Least side of a window, named in the text of the file; see `neighborhood`.
    requirements
        What a back end shall install, one requirement of pip each; xsr of this version by default.
    settings
        Options of the operation: ``scale``, ``model``, ``psf``, ``method``, ``mtf``, …; and what openEO
        does not say of a cube: ``crs``, ``resolution`` (pixel size in units of the CRS), ``band_names``, ``units`` (see
        `xsr.liif`) or ``scale_factor`` and ``add_offset``. All of them may be given later instead, in ``context``.

    Returns
    -------
    str
        Python source with ``apply_datacube``, ``apply_metadata``, and the requirements as inline metadata (PEP 723).

    Raises
    ------
    ParameterError
        If the operation or a setting is unknown, or the scale is no ratio of small whole numbers.

    Examples
    --------
    >>> import xsr
    >>> source = xsr.openeo.udf("liif", scale=3.4, units="dn10000")
    >>> [line for line in source.splitlines() if line.startswith(("def", "SETTINGS"))]
    ["SETTINGS = {'operation': 'liif', 'model': 'liif_s2', 'scale': 3.4, 'units': 'dn10000'}",
     'def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:',
     'def apply_metadata(metadata, context):']
    """
    request = parse(operation, settings)
    side, overlap = sides(request, size)
    chosen = {} if request.model is None else {"model": request.model}
    given = {"operation": operation, **chosen, **request.arguments, **request.of_cube}
    return TEMPLATE.format(
        dependencies="\n".join(f'#     "{one}",' for one in _requirements(requirements)),
        text=request.text.replace("\\", "\\\\").replace('"', "'"),
        context=_missing(request),
        size=side,
        overlap=overlap,
        settings=pformat(given, width=110, sort_dicts=False),
    )


def _requirements(given: Sequence[str] | None) -> Sequence[str]:
    chosen = REQUIREMENTS if given is None else given
    if isinstance(chosen, str) or not all(str(one).isprintable() for one in chosen):
        raise ParameterError(f"requirements={given!r}; expected requirements of pip, such as ['xarray-sr>=1'].")
    return [one.replace("\\", "\\\\").replace('"', '\\"') for one in map(str, chosen)]


def _missing(request: Request) -> str:
    """Write what the user must still say of the cube."""
    return "" if "crs" in request.of_cube else '"crs": "EPSG:32633"'
