"""All bands of a sensor on the grid of its sharpest: those of 20 m and of 60 m beside those of 10 m."""

import math
from collections.abc import Sequence
from pathlib import Path

from xsr.core import checks, pipeline
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import BandError, ModelError, ParameterError
from xsr.core.grid import resolution
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.intervals import EXACT, model_of
from xsr.models import registry
from xsr.models.card import ModelCard
from xsr.models.precision import Precision
from xsr.operations.super_resolve import intervals
from xsr.operations.super_resolve.continuous import liif
from xsr.operations.super_resolve.dates import lattice
from xsr.operations.super_resolve.grids import on_one_grid
from xsr.operations.super_resolve.networks import exact_precision, provenance, refuse_temperature, warn_of_grid
from xsr.operations.super_resolve.repeats import smooth_repeats
from xsr.operations.super_resolve.sharpened import SIXFOLD, TWICE, function_of, sides_of

DEFAULT = "sharpen_s2"


@each_member
def sharpen(
    cube: XarrayObject,
    *,
    to: float | None = None,
    model: str | Path = DEFAULT,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    quantiles: float | Sequence[float] | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Bring all bands to the grid of the sharpest: those of 20 m and 60 m of Sentinel-2 to 10 m.

    Parameters
    ----------
    cube
        Bands of two or three pixel sizes, as reflectance: a DataArray or Dataset on the grid of the sharpest, of which
        the coordinate (of a Dataset: attributes) ``native_gsd`` or the table of the sensor says which bands have larger
        pixels; or a Dataset whose variables are on grids of their own, with dims such as ``y_20m`` and ``x_20m``.
    to
        Pixel size of the result in units of the CRS, finer than the sharpest bands: those of the sharpened cube are
        then super-resolved by `liif`. By default that of the sharpest bands.
    model
        Name or path of weights.
    bands
        Bands to keep, in any spelling of the alias table, or a mapping from names to labels of the cube; all by
        default. See `liif`. Sharp bands that are left out do not help the others.
    units
        Units of the numbers where the metadata do not say; see `liif`.
    device
        ``auto`` (CUDA where a worker has it, else CPU), ``cpu``, ``cuda``.
    precision
        Of the layers between the first and the last; see `liif`.
    quantiles
        Numbers in (0, 1) that rise, for a dimension ``quantile``; see `liif`. Of the sharp bands all are the values
        themselves. Not with ``to``, nor with bands of 60 m: their errors were not measured.
    chunks
        Output block in pixels, one number or (y, x); each becomes one task and one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        Float32 reflectance on the grid of the sharpest bands, which are unchanged; lazy if the input is. ``native_gsd``
        is the pixel size of the grid: all bands are as sharp. The attribute ``xsr_sharpened`` lists those that were
        sharpened.

    Raises
    ------
    BandError
        If the bands are of one pixel size, none is of the grid's, or one is larger than the others by a factor other
        than 2 or 6.
    GridError
        If grids do not lie in one another; says by how much.
    CubeError
        If dates differ, or the cube breaks the contract.
    ModelError
        If there is no such model, or it is for something else.

    Notes
    -----
    The detail of a band of 20 m is what local regressions on the sharp bands predict, what iterative back-projection
    finds still lacking (both `xsr.kernels.injection`), and a network's correction of the sum, on the lattice of the
    band's own pixels. The detail of a band of 60 m comes from regressions on all others, sharpened
    (`xsr.kernels.pooled_injection`), and from back-projection.

    Blocks read a halo, so that any chunking gives the same result. Beyond its border the cube is mirrored. A pixel is
    NaN where it is in that band; where a sharp band has no data it is filled from its neighbours to help the others.
    Where a band repeats its own larger pixels, they are interpolated before (bicubic), block by block.

    References
    ----------
    C. Lanaras et al., ISPRS Journal 146 (2018), doi:10.1016/j.isprsjprs.2018.09.018 (training one level up).
    B. Aiazzi et al., PE&RS 72 (2006), doi:10.14358/PERS.72.5.591 (local injection).

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> cube = synthetic_cube(size=(32, 32), bands=("B02", "B03", "B04", "B08", "B05", "B11"))
    >>> fine = cube.sr.sharpen()
    >>> dict(fine.sizes), fine.attrs["xsr_sharpened"]
    ({'time': 1, 'band': 6, 'y': 32, 'x': 32}, ['B05', 'B11'])
    """
    registry.check_device(device)
    card, spec = registry.card(model), registry.spec(model)
    if card.reads != "detail":
        raise ModelError(
            f"model {card.name!r} is a {card.architecture} for other uses; expected one that sharpens bands, such as"
            f" {DEFAULT}."
        )
    joined = on_one_grid(cube, units, method=card.coarser)
    checked = open_cube(joined.cube, units=units if joined.cube is cube else "reflectance", bands=bands)
    refuse_temperature(checked, card)
    warn_of_grid(checked, card)
    size = resolution(checked.geobox)[0]
    finer = None if to is None else checks.positive("to", to)
    if finer is not None and finer > size * (1 + 1e-9):
        raise ParameterError(
            f"to={to}; the sharpest bands have pixels of {size:g}. Give a smaller size, or leave it out; degrade makes"
            " larger pixels."
        )
    sides = sides_of(checked, card)
    corners = {side: joined.corners.get(side, lattice(checked, side)) for side in (TWICE, SIXFOLD)}
    exact = exact_precision(precision, card, residual=True, device=device)
    wanted = intervals.requested(quantiles, card, {"to": to}, "sensor" if card.sharpness == "sensor" else None)
    picks = _measured(checked, card, sides) if wanted else ()
    made = [name for name, side in zip(checked.bands, sides, strict=True) if side > 1]
    level = smooth_repeats(checked, card.coarser).with_native_gsd([checked.pixel_m[0]] * len(sides))
    fine = pipeline.refine(
        level,
        function_of(checked, card, spec, sides, corners, device, exact),
        scale=1.0,
        resolution=None,
        like=None,
        chunks=chunks,
        provenance=provenance("sharpen", card, exact) | made_by("sharpen", sharpened=made),
    )
    if finer is None or math.isclose(finer, size):
        return intervals.with_quantiles(*(fine, level, card, picks, wanted), scale=1.0, device=device, chunks=chunks)
    return liif(fine, resolution=finer, units="reflectance", device=device, precision=precision, chunks=chunks)


def _measured(cube: Cube, card: ModelCard, sides: Sequence[int]) -> tuple[int, ...]:
    """Channel of each band in the model of errors; none of sharp bands.

    Raises
    ------
    BandError
        If the errors of a band were not measured.
    """
    known = model_of(card)[0].bands
    unknown = [
        name
        for name, band, side in zip(cube.bands, cube.canonical, sides, strict=True)
        if side > 1 and band not in known
    ]
    if unknown:
        raise BandError(
            f"quantiles with band(s) {unknown}, whose errors were not measured; those of {list(known)} were. Select"
            " bands with bands=, or leave quantiles out."
        )
    return tuple(EXACT if side == 1 else known.index(band) for band, side in zip(cube.canonical, sides, strict=True))
