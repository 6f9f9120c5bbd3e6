"""The operation: find the sensor's own pixels in an image resampled by nearest neighbour, and recover them."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from xsr.core import pipeline
from xsr.core.cube import NATIVE_CORNER, Cube, open_cube
from xsr.core.errors import GridError, XsrWarning
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels.native import pick
from xsr.operations.native.gather import Block, Gather, GatherSampling
from xsr.operations.native.lattices import (
    Lattice,
    box,
    candidates,
    resolve_crs,
    resolve_sizes,
    view,
)
from xsr.operations.native.sample import Sample, read_sample
from xsr.operations.native.search import CONTRAST, EVIDENCE, REPRODUCED, Fit, search, trust

COUNTED = 1_000_000
"""Most pixels of a cube of which those without an output pixel are counted one by one."""


def native(
    cube: XarrayObject,
    *,
    crs: Any = None,
    gsd: float | Sequence[float] | None = None,
    bands: Sequence[str] | None = None,
    units: str | float | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Recover the sensor's own pixels of a cube that was resampled from them by nearest neighbour.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x) of Sentinel-2 or Landsat, in any CRS.
    crs
        UTM zone of the sensor's pixels; by default that of the cube's centre or one of its two neighbours, whichever
        fits. Another datum than WGS 84 must be named.
    gsd
        Pixel size of the sensor in metres, or several; 10, 20, 30 and 60 m are tried by default. With ``crs`` one size
        is accepted, with a warning, where the cube is too small or flat to test it.
    bands
        Bands to keep; all by default.
    units
        Units of the numbers where the metadata do not say; see `xsr.interpolate`.
    chunks
        Output block in pixels, one number or (y, x); each becomes one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32, on the finest lattice of its bands in the zone found; lazy if the input is. Pixels that
        no pixel of the cube came from are NaN. Bands of larger pixels repeat them. The coordinate ``native_gsd``
        (of a Dataset: an attribute of each variable) is each band's own pixel size in metres, NaN where the image is
        too flat to decide; ``native_x`` and ``native_y`` are a corner of the repeated pixels, by which `xsr.liif` and
        related operations recognise that they have to be smoothed first.

        Attributes: ``xsr_native_crs``; ``xsr_native_origin``, the corner of the first pixel; ``xsr_native_reproduced``,
        the share of the sample that resampling the result reproduces; ``xsr_native_evidence``, the number of repeats
        tested; ``xsr_native_shift``, metres right and up by which the image had to be moved to fit best;
        ``xsr_native_missing`` and ``xsr_native_recovered``, the number of pixels inside the cube that are NaN because
        it skipped them and the share of the others, of a large cube estimated in its middle.

    Raises
    ------
    GridError
        If the cube is not resampled by nearest neighbour from any candidate, with the best one and its score; if it is
        too flat or repeats too little to be tested; if two zones fit alike; or if it is on its own pixels already.
    ParameterError
        If ``crs`` is not in metres, or ``gsd`` not positive.
    CubeError, BandError
        If the cube breaks the contract; see `xsr.core.cube.open_cube`.

    Notes
    -----
    *Read at once:* up to 3 x 3 windows of 256 x 256 pixels, spread from border to border, of up to four dates, evenly
    spread, in all bands. The result itself is lazy.

    Neighbouring pixels whose centres lie in one pixel of a candidate lattice must be equal, and far more often than
    other neighbours are: with e of the predicted repeats equal, and b of the other pairs, the contrast
    ``(e - b) / (1 - b)`` is about 1 for the right lattice and about 0 for others. Bilinear or cubic resampling leaves
    no repeats. Positions may be off by 0.03 pixels. Sentinel-2's lattices begin at multiples of the pixel size,
    Landsat's 15 m beside them; if none of those fits, the phase is estimated. A pixel is taken from the output pixel in
    it whose centre lies nearest to its own. NaN equals NaN.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> from odc.geo.xr import xr_reproject
    >>> cube = synthetic_cube(size=(64, 64))
    >>> degrees = cube.odc.geobox.to_crs("EPSG:4326", resolution=8e-5)
    >>> native = xr_reproject(cube, degrees, resampling="nearest").sr.native()
    >>> native.attrs["xsr_native_crs"]
    'EPSG:32631'
    >>> bool((native.sel(x=cube.x, y=cube.y) == cube).mean() > 0.99)
    True
    """
    opened = open_cube(cube, units=units, bands=bands)
    sizes = resolve_sizes(gsd)
    zones = candidates(opened.geobox) if crs is None else [resolve_crs(crs)]
    sample = read_sample(opened)
    fits = search(sample, zones, sizes)
    trusted = trust(sample, zones[0], sizes[0]) if crs is not None and len(sizes) == 1 and _untested(fits) else None
    if trusted is not None:
        _warn_of_trust(trusted)
    best = trusted or _decide(fits, sample, zones)
    sizes_m = [math.nan if lattice is None else lattice.size_m for lattice in best.own]
    recorded = [a if math.isfinite(a) else b for a, b in zip(sizes_m, opened.native_gsd, strict=True)]
    opened = opened.with_native_gsd(recorded)
    if best.grid == best.finest:
        return _mark(_recorded(opened, best), opened.geobox, best)
    target = box(opened.geobox, best.crs, best.finest, best.coarsest)
    return _mark(_gathered(opened, best, target, pipeline.resolve_chunks(chunks)), target, best)


def _untested(fits: Sequence[Fit]) -> bool:
    return bool(fits) and all(found.untested for found in fits)


def _warn_of_trust(fit: Fit) -> None:
    warnings.warn(
        f"too few neighbouring pixels show whether the cube was resampled by nearest neighbour; it is taken to be, from"
        f" pixels of {fit.finest.size_m:g} m in {_name(fit.crs)}, because crs= and gsd= say so.",
        XsrWarning,
        stacklevel=3,
    )


def _decide(fits: Sequence[Fit], sample: Sample, zones: Sequence[CRS]) -> Fit:
    """Choose the zone from which the image was resampled."""
    held = sorted((found for found in fits if found.holds), key=lambda found: -found.reproduced)
    if not held:
        raise GridError(_refusal(fits, sample, ", ".join(_name(zone) for zone in zones)))
    lost = [(1 - found.reproduced) * sample.pixels * len(sample.bands) for found in held]
    if len(held) > 1 and lost[1] <= lost[0] + 3 * math.sqrt(lost[0]) + EVIDENCE:
        first, second = held[:2]
        raise GridError(
            f"the cube may come from the pixels of {_name(first.crs)} or of {_name(second.crs)}: they reproduce"
            f" {first.reproduced:.2%} and {second.reproduced:.2%} of it; expected one. Name it,"
            f" crs={_name(first.crs)!r} or crs={_name(second.crs)!r}, or pass a larger part of the image."
        )
    return held[0]


def _refusal(fits: Sequence[Fit], sample: Sample, tried: str) -> str:
    """Say why no zone fits."""
    if not fits:
        return f"the cube cannot be projected to {tried}; expected an area near them. Clip it, or name the zone: crs=."
    spoiled = max((found for found in fits if found.against), key=lambda found: found.evidence, default=None)
    if spoiled is not None:
        return (
            f"bands {list(spoiled.against)} do not repeat pixels of {_name(spoiled.crs)} as the others do; expected all"
            " bands resampled by nearest neighbour. Leave them out with bands=."
        )
    best = max(fits, key=lambda found: found.score)
    own = next((found for found in fits if found.grid is not None), None)
    if own is not None and own.grid is not None and not own.untested and best.score < CONTRAST:
        return (
            f"the cube is on pixels of {own.grid.size_m:g} m in {_name(own.crs)}, and neither repeats larger ones nor"
            f" those of another zone (best contrast {max(best.score, 0):.2f}); expected a cube resampled by nearest"
            " neighbour. There is nothing to undo: use it unchanged, or name another zone with crs=."
        )
    if best.untested:
        way = "" if own is not None else "; or name pixels of 10, 20 or 60 m to be taken untested: crs=, gsd="
        return (
            f"whether the cube was resampled by nearest neighbour cannot be decided: from {tried} fewer than"
            f" {EVIDENCE:g} pairs of neighbours of a band would repeat one pixel, beyond those that are equal by"
            f" chance; expected an image with texture. Pass a larger part of it, or bands that are not flat{way}."
        )
    if best.score >= CONTRAST:
        return (
            f"the cube was not resampled by nearest neighbour from {tried}: at best, in {_name(best.crs)} with pixels"
            f" of {best.finest.size_m:g} m, the way there and back reproduces {best.reproduced:.1%} of it; expected"
            f" {REPRODUCED:.0%} or more. Keep the cube, or pass a part or dates of one origin."
        )
    return (
        f"the cube was not resampled by nearest neighbour from {tried}: at best, in {_name(best.crs)} with pixels of"
        f" {best.finest.size_m:g} m, the predicted repeats have a contrast of {best.score:.2f}; expected"
        f" {CONTRAST:g} or more, and 1 if all are equal. Keep the cube, or name another zone or pixel size (crs=,"
        " gsd=)."
    )


def _name(crs: CRS) -> str:
    return f"EPSG:{crs.epsg}" if crs.epsg else str(crs)


def _recorded(cube: Cube, best: Fit) -> XarrayObject:
    """Give a cube back unchanged, on its own grid."""
    provenance = _provenance(best, cube.geobox, missing=0, recovered=1.0)
    result = cube.rewrap(cube.data.data, cube.geobox, provenance)
    over = {name: coord for name, coord in cube.original.coords.items() if set(cube.spatial) <= set(coord.dims)}
    return result.assign_coords(over)


def _gathered(cube: Cube, best: Fit, target: GeoBox, chunks: tuple[int, int]) -> XarrayObject:
    """Give the sensor's pixels back on a grid of their own."""
    finest = best.finest
    sampling = GatherSampling(cube.geobox, target)
    own = tuple(_block(lattice or finest, finest, target, best.crs) for lattice in best.own)
    moved = best.moved_m[0] / finest.size_m, best.moved_m[1] / finest.size_m
    halo = math.ceil(1.5 * max(sampling.cell) * max(block[0] for block in own)) + 2
    missing, recovered = _missing(cube.geobox, best)
    return pipeline.evaluate(
        cube,
        Gather(sampling, own, moved, best.straight, halo),
        (target, sampling),
        chunks=chunks,
        provenance=_provenance(best, target, missing=missing, recovered=recovered),
    )


def _block(lattice: Lattice, finest: Lattice, target: GeoBox, crs: CRS) -> Block:
    """Pixels of a lattice in pixels of the finest, from the corner of a grid."""
    down, right = (round(start / finest.size_m) for start in lattice.first(target, crs))
    side = round(lattice.size_m / finest.size_m)
    return side, down % side, right % side


def _missing(geobox: GeoBox, best: Fit) -> tuple[int, float]:
    """Count the pixels within the cube that it skipped, and the share of the others; in its middle if it is large."""
    height, width = geobox.shape.yx
    side = math.isqrt(COUNTED)
    spans = [np.arange(max(0, (n - side) // 2), min(n, (n + side) // 2)) + 0.5 for n in (height, width)]
    projected = view(geobox, best.crs, *np.meshgrid(*spans, indexing="ij")).moved(*best.moved_m)
    (rows, cols), distance = best.finest.cells(projected)
    rows, cols = rows - rows.min(), cols - cols.min()
    found = pick(rows, cols, distance, (int(rows.max()) + 1, int(cols.max()) + 1)) >= 0
    holes = _enclosed(found)
    share = float(found.sum() / max(1, found.sum() + holes))
    scale = height * width / (spans[0].size * spans[1].size)
    return round(holes * scale), share


def _enclosed(found: Any) -> int:
    """Count the pixels that were not found and have found ones on both sides, along rows and columns."""
    between = np.ones_like(found)
    for axis in (0, 1):
        for step in (1, -1):
            ahead = found[::step] if axis == 0 else found[:, ::step]
            passed = np.logical_or.accumulate(ahead, axis=axis)
            between &= passed[::step] if axis == 0 else passed[:, ::step]
    return int((between & ~found).sum())


def _provenance(best: Fit, target: GeoBox, *, missing: int, recovered: float) -> dict[str, Any]:
    affine = target.affine
    return made_by(
        "native",
        native_crs=_name(best.crs),
        native_origin=[float(affine.c), float(affine.f)],
        native_reproduced=float(best.reproduced),
        native_evidence=round(best.evidence),
        native_shift=[0.0 + best.moved_m[1], 0.0 - best.moved_m[0]],
        native_missing=missing,
        native_recovered=recovered,
    )


def _mark(result: XarrayObject, grid: GeoBox, best: Fit) -> XarrayObject:
    """Record where bands repeat larger pixels of a grid."""
    larger = {lattice for lattice in best.own if lattice is not None} - {best.finest}
    if not larger or not all(lattice.nests_in(best.coarsest) for lattice in larger):
        return result
    down, right = best.coarsest.first(grid, best.crs)
    corner = float(grid.affine.c + right), float(grid.affine.f - down)
    attrs = {"long_name": "corner of the pixels that bands of a larger native_gsd repeat", "units": "m"}
    return result.assign_coords({name: ((), place, attrs) for name, place in zip(NATIVE_CORNER, corner, strict=True)})
