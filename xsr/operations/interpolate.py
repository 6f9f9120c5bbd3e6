"""Interpolation to any finer grid: the baseline of everything."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from odc.geo.geobox import GeoBox

from xsr.core import checks, classmap, pipeline
from xsr.core.cube import open_cube
from xsr.core.errors import ParameterError
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.provenance import made_by
from xsr.core.target_times import TargetTime
from xsr.core.types import XarrayObject
from xsr.kernels import resample
from xsr.kernels.resample import Interpolation
from xsr.kernels.temporal import TEMPORAL, Temporal, TemporalInterpolation


@each_member
def interpolate(
    cube: XarrayObject,
    *,
    scale: float | None = None,
    resolution: float | None = None,
    like: XarrayObject | GeoBox | None = None,
    t: Any = None,
    method: resample.Method = "bicubic",
    temporal: Temporal = "linear",
    frames: int = 5,
    window: float | None = None,
    extrapolate: float | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Interpolate a cube to a finer grid.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x); with ``method="nearest"`` also a map of
        classes alone, which keeps its type.
    scale
        Linear factor, >= 1, any real number. The output has ``floor(n * scale)`` pixels of exactly ``gsd / scale``,
        anchored at the top-left corner of the cube.
    resolution
        Pixel size of the output in units of the CRS (metres for UTM), instead of ``scale``.
    like
        A georeferenced cube or GeoBox whose grid to use, another CRS included: one resampling. Pixels outside the
        cube are NaN.
    t
        Target times instead of the cube's dates: a date, several, a pandas frequency such as ``"10D"``, or an object
        with a ``time`` coordinate. Dates on which a pixel was not observed (NaN) are skipped.
    method
        ``nearest``, ``bilinear``, ``bicubic`` (Keys, a = -0.5), ``bicubic75`` (a = -0.75, as PyTorch and OpenCV) or
        ``lanczos3``. ``bilinear`` and ``bicubic`` reproduce a linear ramp exactly; the last two do not.
    temporal
        With ``t``: ``linear`` between the last clear date before and the first after, ``nearest`` clear date, or the
        ``mean`` of the nearest clear ``frames``; each pixel by itself, before the interpolation in space.
    frames
        See ``temporal``.
    window
        Days around a target time within which dates are used; any date by default. Of those, the ten nearest on either
        side may be used.
    extrapolate
        Days by which a target time may lie outside the series; refused by default.
    bands
        Bands to keep, or a mapping from names to labels of the cube; all by default. See `xsr.liif`.
    units
        Units of the numbers where the metadata do not say: ``reflectance``, ``percent``, ``dn10000``,
        ``dn10000-1000``, or a factor.
    chunks
        Output block in pixels, one number or (y, x); each becomes one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, on the finer grid; lazy if the input is. With ``t`` its dates are the target
        times, and a coordinate ``n_valid`` (time, y, x) counts the clear dates among those that may be used.

    Raises
    ------
    ParameterError
        If not exactly one target is given, it is coarser than the cube, or the method is unknown.
    CubeError, GridError, BandError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.

    Notes
    -----
    Edges repeat the border pixel. No data: an output pixel is NaN exactly where the input pixel that contains
    its centre is invalid in that band; the kernel reads invalid neighbours as the mean of valid ones.

    References
    ----------
    R. Keys, IEEE TASSP 29 (1981), doi:10.1109/TASSP.1981.1163711.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32), times=("2024-04-10", "2024-05-10"))
    >>> fine = cube.sr.interpolate(scale=3.4, method="bilinear")
    >>> dict(fine.sizes), fine.odc.geobox.resolution.x == 10 / 3.4
    ({'time': 2, 'band': 4, 'y': 108, 'x': 108}, True)
    >>> fine = cube.sr.interpolate(resolution=5, t="2024-04-25", temporal="nearest")
    >>> bool((fine == cube[0].sr.interpolate(scale=2)).all())
    True
    """
    if method not in resample.METHODS:
        raise ParameterError(f"method={method!r}; expected one of {', '.join(resample.METHODS)}.")
    if temporal not in TEMPORAL:
        raise ParameterError(f"temporal={temporal!r}; expected one of {', '.join(TEMPORAL)}.")
    frames = checks.whole("frames", frames, least=1)
    if method == "nearest" and t is None and bands is None and classmap.holds_only_classes(cube):
        size: dict[str, Any] = {"scale": scale, "resolution": resolution, "like": like, "chunks": chunks}
        return classmap.by_nearest(cube, partial(interpolate, method=method, units="reflectance", **size))
    if t is not None:
        checked = open_cube(cube, units=units, bands=bands)
        target = pipeline.resolve_target(checked, scale=scale, resolution=resolution, like=like)
        return pipeline.evaluate_at(
            checked.towards(like),
            pipeline.Moments(t, window, extrapolate=extrapolate),
            partial(_at, method, temporal, frames),
            target,
            chunks=pipeline.resolve_chunks(chunks),
            provenance=made_by(f"interpolate:{method}:{temporal}"),
        )
    return pipeline.refine(
        open_cube(cube, units=units, bands=bands),
        Interpolation(method),
        scale=scale,
        resolution=resolution,
        like=like,
        chunks=chunks,
        provenance=made_by(f"interpolate:{method}"),
    )


def _at(method: str, temporal: str, frames: int, target_times: tuple[TargetTime, ...]) -> TemporalInterpolation:
    return TemporalInterpolation(method, temporal=temporal, frames=frames, target_times=target_times)


def interpolate_time(
    cube: XarrayObject,
    t: Any,
    *,
    temporal: Temporal = "linear",
    frames: int = 5,
    window: float | None = None,
    extrapolate: float | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Interpolate a series in time, over gaps, on its own grid.

    Parameters
    ----------
    cube
        DataArray (time, [band,] y, x) or Dataset of bands (time, y, x); NaN where a date has no observation.
    t
        Target times: a date, several, a pandas frequency such as ``"10D"``, or an object with a ``time`` coordinate.
    temporal, frames, window, extrapolate, bands, units, chunks
        As in `interpolate`.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, at the target times, with a coordinate ``n_valid``; lazy if the input is.

    Raises
    ------
    ParameterError
        If ``t`` cannot be read or lies outside the series.
    CubeError
        If the cube has no dates.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32), times=("2024-04-10", "2024-05-10"))
    >>> series = cube.sr.interpolate_time("10D")
    >>> series.time.dt.strftime("%d %B").values.tolist()
    ['10 April', '20 April', '30 April', '10 May']
    """
    return interpolate(
        cube,
        scale=1.0,
        t=t,
        method="nearest",
        temporal=temporal,
        frames=frames,
        window=window,
        extrapolate=extrapolate,
        bands=bands,
        units=units,
        chunks=chunks,
    )
