"""Super-resolution by fixed-scale networks, all bands at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xsr.core import checks, pipeline
from xsr.core.cube import Cube, open_cube
from xsr.core.errors import GridError, ModelError, ParameterError
from xsr.core.members import each_member
from xsr.core.names import BandsLike
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.models import foreign, registry
from xsr.models.card import ModelCard
from xsr.models.precision import Exact, Precision
from xsr.operations.super_resolve import consistency, intervals
from xsr.operations.super_resolve.grids import brought, check_dates, join
from xsr.operations.super_resolve.networks import (
    FixedFactor,
    exact_precision,
    provenance,
    refuse_temperature,
    warn_of_grid,
    warn_of_pixel_size,
)
from xsr.operations.super_resolve.repeats import smooth_repeats
from xsr.operations.super_resolve.sharpness import Sharpness, chosen, gains_of, resharpened
from xsr.operations.super_resolve.sharpness import record as stated


@each_member
def sisr(
    cube: XarrayObject,
    *,
    model: str | Path,
    weights: str | Path | None = None,
    coarse: XarrayObject | None = None,
    scale: float | None = None,
    bands: BandsLike | None = None,
    units: str | float | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    psf: Sharpness | None = None,
    consistent: bool = False,
    quantiles: float | Sequence[float] | None = None,
    chunks: int | Sequence[int] | None = None,
) -> XarrayObject:
    """Super-resolve each date of a cube with a fixed-scale network.

    Parameters
    ----------
    cube
        DataArray ([time,] band, y, x) or Dataset of bands ([time,] y, x), reflectance.
    model
        Trained weights by name or path, the card (``.yaml``) of a foreign ONNX network, or, with ``weights``, the name
        of an architecture (``carn_3x3x64g4sw``, ``esrgan_3x64x32``, …).
    weights
        Weight file for the architecture: ours with its card beside it, or a published state dict of the Evoland
        project, whose order of bands and normalisation are then assumed.
    coarse
        Further bands on a coarser grid of the same extent, such as the 20 m bands beside a cube of 10 m: brought to
        the cube's grid as the model's card says (``coarser``: bicubic). Without it the cube itself must hold every
        band, those of 20 m brought to 10 m by ``interpolate(scale=2, method="bicubic")`` or by a reader of `xsr`.
    scale
        The model's factor, or None: a fixed-scale network has no other.
    bands
        Bands to keep, in any spelling of the alias table, or a mapping from names to labels of the cube; all by
        default. See `liif`.
    units
        Units of the numbers where the metadata do not say; see `liif`.
    device
        ``auto`` (CUDA where a worker has it, else CPU), ``cpu``, ``cuda``.
    precision
        Of the layers between the first and the last: ``float32``, ``bfloat16``, or ``auto``, which is bfloat16 where
        the network makes a correction to the interpolated image and this machine multiplies bfloat16 by itself
        (AVX512-BF16, AMX, or ``device="cuda"``). The result says which it was (``xsr_precision``).
    psf
        Sharpness of the result: ``sensor``, ``ideal`` or an MTF; see `liif`.
    consistent
        Whether the result, observed again by the model's sensor, is to be the cube; see `liif`.
    quantiles
        Numbers in (0, 1) that rise, for a dimension ``quantile``; see `liif`.
    chunks
        Output block in pixels, one number or (y, x); each becomes one task and one Dask chunk over all bands.

    Returns
    -------
    DataArray or Dataset
        As the input, float32 reflectance on a grid of ``gsd / factor`` with the same corner; lazy if the input is.
        The values are not clipped.

    Raises
    ------
    ModelError, WeightsError
        If there is no such model, or its file is damaged or does not fit.
    ParameterError
        If ``scale`` is not the model's factor, or ``precision`` is unknown or given for a foreign network.
    BandError
        If the model needs a band that the cube lacks, or the cube has one that the model was not trained on.
    CubeError, GridError
        If the cube breaks the contract, or ``coarse`` has another extent.

    Notes
    -----
    Blocks read a halo as wide as the receptive field, so that any chunking gives the same result. Beyond its border
    the cube is mirrored. No data are treated as in `liif`.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> bands = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
    >>> cube = synthetic_cube(size=(32, 32), bands=bands)
    >>> fine = cube.sr.sisr(model="carn_3x3x64g4sw_s2")
    >>> dict(fine.sizes)
    {'time': 1, 'band': 10, 'y': 64, 'x': 64}
    """
    registry.check_device(device)
    card, spec = registry.card(model, weights), registry.spec(model, weights)
    _check_fixed(card, model, scale)
    residual = card.residual or bool(card.config.get("residual", False))
    exact = exact_precision(precision, card, residual=residual, device=device)
    if foreign.is_foreign(card):  # a network that cannot be opened is an error of the call, not of a worker
        registry.load(spec).check_any_size()
    if coarse is not None:
        cube, units = _with_coarse(cube, coarse, card, units), "reflectance"
    checked, picks = checked_for(cube, card, bands, units)
    function, psf = function_of(card, spec, picks, device, exact), chosen(psf, card)
    gains, wanted = gains_of(psf, card, checked.canonical), intervals.requested(quantiles, card, {}, psf)
    sharper, record = (
        resharpened(function, gains),
        provenance("sisr", card, exact) | made_by("sisr", **stated(psf, card)),
    )
    size: dict[str, Any] = {"scale": float(function.factor)}
    how: dict[str, Any] = {"chunks": chunks, "provenance": record}
    if consistent:
        fine = consistency.refine(checked, card, sharper, picks, gains, **size, **how)
    else:
        fine = pipeline.refine(checked, sharper, **size, resolution=None, like=None, **how)
    return intervals.with_quantiles(fine, checked, card, picks, wanted, **size, device=device, chunks=chunks)


def _check_fixed(card: ModelCard, model: str | Path, scale: float | None) -> None:
    """Refuse a model that is not of one factor, or is for something else, and another scale."""
    if card.factor is None:
        raise ModelError(f"model {card.name!r} is continuous; use liif(model={str(model)!r}, scale=...).")
    if scale is not None and checks.positive("scale", scale) != card.factor:
        raise ParameterError(
            f"scale={scale!r}; model {card.name!r} has the factor {card.factor} alone. Leave scale out, or use liif"
            " for any scale."
        )
    if card.reads == "result":
        raise ModelError(
            f"model {card.name!r} says how large the errors of another are, and makes no image; use quantiles= with"
            " that one."
        )
    if card.reads != "bands":
        raise ModelError(f"model {card.name!r} sharpens bands on their grid; use sharpen(model={str(model)!r}).")


def function_of(
    card: ModelCard, spec: registry.ModelSpec, picks: tuple[int, ...], device: str, precision: Exact
) -> FixedFactor:
    """Block function of a fixed-scale network."""
    assert card.factor is not None
    return FixedFactor(
        *(spec, card.image, picks, card.radius, device),
        precision=precision,
        factor=card.factor,
        residual=card.residual,
    )


def checked_for(
    cube: XarrayObject, card: ModelCard, bands: BandsLike | None, units: str | float | None
) -> tuple[Cube, tuple[int, ...]]:
    """Check that a cube is what a model was made for; the cube, and the channel of each of its bands."""
    checked = open_cube(cube, units=units, bands=bands)
    refuse_temperature(checked, card)
    picks = card.channels(checked.canonical, naming=checked.naming)
    warn_of_pixel_size(checked, card)
    warn_of_grid(checked, card)
    return smooth_repeats(checked, card.coarser), picks


def _with_coarse(cube: XarrayObject, coarse: XarrayObject, card: ModelCard, units: str | float | None) -> XarrayObject:
    """Join the bands of a coarser cube to a cube, on its grid."""
    fine, other = open_cube(cube, units=units), open_cube(coarse, units=units)
    if type(cube) is not type(coarse):
        raise ParameterError(
            f"coarse is a {type(coarse).__name__} and the cube a {type(cube).__name__}; expected the same type."
        )
    inner, outer = fine.geobox.boundingbox, other.geobox.boundingbox
    if fine.geobox.crs != other.geobox.crs or not np.allclose(inner.bbox, outer.bbox, rtol=0, atol=1e-6 * _span(inner)):
        raise GridError(
            f"coarse covers {tuple(outer.bbox)} in {other.geobox.crs}, the cube {tuple(inner.bbox)} in"
            f" {fine.geobox.crs}; expected the same extent. Crop one of them."
        )
    check_dates(fine, other, "coarse")
    decoded = fine.rewrap(fine.data.data, fine.geobox, {})
    return join(decoded, brought(fine, other, card.coarser), fine)


def _span(box: Any) -> float:
    return float(max(box.right - box.left, box.top - box.bottom))
