"""Judge a cube without a reference, by the statistics of natural scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core import graph
from xsr.core.cube import open_cube
from xsr.core.match import check_border
from xsr.core.names import BandsLike
from xsr.core.provenance import made_by
from xsr.core.types import XarrayObject
from xsr.kernels import brisque as kernels
from xsr.operations.evaluate.compare import labels, whole


@dataclass(frozen=True)
class Statistics:
    """Reduction of a single block, the whole image."""

    border: int
    model: Path | None
    """A file of the user's; None for the packaged model."""

    def __call__(self, job: graph.Job, windows: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Features and score of one date, shape (band, 37)."""
        cut = slice(self.border, -self.border or None)
        out = np.full((windows[0].shape[0], kernels.FEATURES + 1), np.nan)
        for row, band in zip(out, windows[0][:, cut, cut], strict=True):
            row[:-1] = kernels.features(kernels.luminance(np.where(np.isfinite(band), band, np.float32(np.nan))))
            model = kernels.own_model() if self.model is None else kernels.read_model(self.model)
            row[-1] = model.score(row[:-1])
        return out

    def finish(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pass the only block on."""
        return total


def brisque(
    cube: XarrayObject,
    *,
    model: str | Path | None = None,
    border: int = 0,
    bands: BandsLike | None = None,
    units: str | float | None = None,
) -> xr.Dataset:
    """Compute BRISQUE statistics of every band, and a score.

    Parameters
    ----------
    cube
        DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x).
    model
        Path of a support-vector model in libsvm text format, with its file ``allrange`` beside it, as released by
        the authors at the University of Texas at Austin. None takes the packaged one, ``brisque_s2``, which was
        fitted to degradations of Sentinel-2 images.
    border
        Pixels to leave out along each side.
    bands, units
        See `xsr.evaluate`.

    Returns
    -------
    Dataset
        ``features``, dims (time, band, feature), and ``score``, dims (time, band): lower is better. That of the
        packaged model expects 100 (1 - SSIM); that of the authors' is for photographs about 0 to 100. Lazy if the
        cube is; a task holds one date.

    Raises
    ------
    WeightsError, ModelError
        If the model is missing or cannot be read.

    Notes
    -----
    Reflectance is clipped to 0 to 1 and multiplied by 255 without rounding. The score depends on this choice, and
    the authors' model was trained on photographs: compare scores of one scene and band, not of scenes.

    References
    ----------
    A. Mittal, A. K. Moorthy, A. C. Bovik, IEEE TIP 21 (2012), doi:10.1109/TIP.2012.2214050.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_cube
    >>> found = synthetic_cube(size=(64, 64)).sr.brisque()
    >>> dict(found.features.sizes)
    {'time': 1, 'band': 4, 'feature': 36}
    >>> found.attrs["model"], dict(found.score.sizes)
    ('brisque_s2', {'time': 1, 'band': 4})
    """
    found = open_cube(cube, units=units, bands=bands)
    path = None if model is None else Path(model).expanduser().resolve()
    if path is not None:
        kernels.read_model(path)  # a wrong path fails here, not in a worker
    function = Statistics(check_border(border, found), path)
    sources = [found.data.data]
    shape = (len(found.bands), kernels.FEATURES + 1)
    values = graph.reduce_windows(function, sources, [whole(sources)], shape, name="brisque")
    variables: dict[str, Any] = {
        "features": (("time", "band", "feature"), values[:, :, :-1]),
        "score": (("time", "band"), values[:, :, -1], {"long_name": "BRISQUE, lower is better"}),
    }
    settings: dict[str, Any] = {
        **made_by("brisque"),
        "border_px": function.border,
        "range": "reflectance 0 to 1 as 0 to 255, not rounded",
        "model": kernels.OWN.stem if path is None else path.name,
    }
    return xr.Dataset(variables, labels(found, "time", "band"), settings)
