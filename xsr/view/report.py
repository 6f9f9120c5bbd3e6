"""The report on a result: one file with its pictures, where it came from, and all that can be measured of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from xsr.core import checks, graph
from xsr.core.cube import open_cube
from xsr.core.errors import StoreError, XsrError
from xsr.core.ground import pixel_size_m
from xsr.core.match import check_border
from xsr.core.names import QUANTILE, BandsLike, check_container, fitting
from xsr.core.provenance import PREFIX
from xsr.core.types import XarrayObject
from xsr.kernels.optics import PsfLike
from xsr.operations import evaluate as scoring
from xsr.operations.interpolate import interpolate
from xsr.view import sections
from xsr.view.pages import write_page
from xsr.view.plots import panels
from xsr.view.plots.reading import VISIBLE, Bounds, View, estimate, view_of
from xsr.view.sections import Gathered, holes_of

PANEL_PIXELS = 360
"""Pixels a side that a picture has at least, where the cube has as many."""
INSETS = 2
SHARP = "sensor"
"""Sharpness of results that are compared with their input by the self-similar point spread function."""


def report(
    fine: XarrayObject,
    reference: XarrayObject | None = None,
    *,
    low: XarrayObject | None = None,
    path: str | Path = "report.html",
    title: str | None = None,
    time: Any = None,
    insets: int | Sequence[Sequence[float]] = INSETS,
    data_range: float = 1.0,
    psf: "PsfLike | Mapping[str, PsfLike] | None" = None,
    sensor: str | None = None,
    border: int = 0,
    bands: BandsLike | None = None,
    units: str | float | None = None,
) -> Path:
    """Write a report on a super-resolved cube: one HTML file without scripts, that loads nothing.

    It shows pictures beside the input, bicubic interpolation and the truth; how the result was made; its scores and
    bicubic's, also by stratum and frequency; whether it is its input again when it is degraded; how well its intervals
    hold; and where it has no data. What cannot be said for want of an input says so, and why.

    Parameters
    ----------
    fine
        Result: DataArray ([time,] [band,] y, x) or Dataset of bands ([time,] y, x); of a dimension ``quantile`` 0.5 is
        the estimate.
    reference
        The truth on the same grid; see `xsr.evaluate`.
    low
        The cube that ``fine`` was made from.
    path
        File to write; one that is there is replaced.
    title
        Heading; by default the operation that made the result, and its pixels.
    time
        Date of the pictures; see `xsr.plot.rgb`. Scores are those of all dates, of several the median.
    insets
        Details that are enlarged: how many, or their middles; see `xsr.plot.compare`.
    data_range, sensor, border, bands, units
        See `xsr.evaluate`.
    psf
        Point spread function by which the result is degraded to be compared with ``low``; see `xsr.evaluate`. By
        default ``effective`` for a result that states the sharpness of the sensor.

    Returns
    -------
    pathlib.Path
        The file. All that is lazy is computed in one pass, block by block, but for the overview in which details are
        searched.

    Raises
    ------
    CubeError, GridError, BandError, ParameterError
        If ``fine`` breaks the contract or an argument is out of range. What does not fit ``fine`` is no error: its
        section says why it is missing.
    NotAvailableError
        If matplotlib or Jinja2 is not installed.
    StoreError
        If the file cannot be written.

    Examples
    --------
    >>> import xsr
    >>> from xsr.testing import synthetic_pair
    >>> pair = synthetic_pair(size=(32, 32))
    >>> fine = pair.low.sr.interpolate(scale=4)
    >>> path = xsr.report(fine, pair.high, low=pair.low, path="fine.html")
    >>> path.read_text(encoding="utf-8").count("<section")
    8
    """
    check_container(fine)
    place = Path(path)
    if not place.parent.is_dir():
        raise StoreError(f"folder {place.parent} of the report is not there; expected one to write to. Make it.")
    checks.positive("data_range", data_range)
    options = {"bands": bands, "units": units}
    scored = {"sensor": sensor, "border": border, **options}
    job = _Job(fine, reference, low, estimate(fine), options)
    job.score(psf=_psf_of(fine) if psf is None else psf, data_range=data_range, scored=scored)
    drawn = job.pictures(time, insets)
    found = job.compute(drawn)
    heading = title if title is not None else _heading(fine)
    write_page(place, heading, sections.all_sections(found))
    return place


def _psf_of(fine: XarrayObject) -> PsfLike | None:
    """Point spread function between a result and its input, where the result says its sharpness."""
    return "effective" if fine.attrs.get(f"{PREFIX}psf") == SHARP else None


def _heading(fine: XarrayObject) -> str:
    made = panels.titles_of([fine], None)[0]
    return f"Report: {made}" if made else "Report"


@dataclass
class _Job:
    """What a report needs, lazy, and why what is missing is."""

    fine: XarrayObject
    reference: XarrayObject | None
    low: XarrayObject | None
    plain: XarrayObject
    """The result without quantiles."""
    options: Mapping[str, Any]
    tables: dict[str, xr.Dataset] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    bicubic: XarrayObject | None = None
    """The input interpolated to the grid of the result."""

    def try_to(self, name: str, make: Callable[[], Any]) -> Any:
        """Make something, or note why it cannot be made."""
        try:
            return make()
        except XsrError as error:
            self.missing[name] = str(error)
            return None

    def score(self, *, psf: Any, data_range: float, scored: Mapping[str, Any]) -> None:
        """Plan all tables of scores."""
        cube = open_cube(
            self.plain, units=self.options["units"], bands=fitting(self.options["bands"], self.plain), shared=True
        )
        check_border(scored["border"], cube)
        valid = (
            xr.apply_ufunc(np.isfinite, cube.data, dask="allowed")
            .mean(("y", "x"))
            .drop_vars(["spatial_ref"], errors="ignore")
        )
        self.tables["valid"] = valid.to_dataset(name="valid")
        self.bicubic = None if self.low is None else self.try_to("bicubic", lambda: self._bicubic(cube.geobox))
        plain = {name: value for name, value in scored.items() if name != "sensor"}
        judged = {"result": self.plain} | ({} if self.bicubic is None else {"bicubic": self.bicubic})
        for name, image in judged.items():
            if self.reference is not None:
                more = {"low": self.low, "data_range": data_range, "psf": psf, **scored}
                self._plan(f"scores {name}", scoring.evaluate, image, self.reference, more)
                self._plan(f"strata {name}", scoring.strata, image, self.reference, plain)
                self._plan(f"spectrum {name}", scoring.spectrum, image, self.reference, plain)
            if self.low is not None:
                self._plan(
                    f"consistency {name}", scoring.evaluate, image, None, {"low": self.low, "psf": psf, **scored}
                )
        if QUANTILE in self.fine.dims and self.reference is not None:
            self._plan("calibration result", scoring.calibration, self.fine, self.reference, plain)

    def _bicubic(self, geobox: GeoBox) -> XarrayObject:
        """Bicubic interpolation of the input on the grid of the result."""
        assert self.low is not None
        bands = fitting(self.options["bands"], self.low)
        return interpolate(self.low, like=geobox, method="bicubic", bands=bands, units=self.options["units"])

    def _plan(
        self, name: str, judge: Callable[..., xr.Dataset], image: Any, truth: Any, arguments: Mapping[str, Any]
    ) -> None:
        made = self.try_to(name, lambda: judge(image, truth, **arguments))
        if made is not None:
            self.tables[name] = made

    def pictures(self, time: Any, insets: int | Sequence[Sequence[float]]) -> "tuple[panels.Panels, View]":
        """Plan the pictures: what there is of input, bicubic, result and truth, and details at the same places."""
        named = {"input": self.low, "bicubic": self.bicubic, "result": self.plain, "reference": self.reference}
        shown = view_of(self.plain, bands=self._drawn_bands(), time=time, units=self.options["units"])
        views = {"result": shown}
        for name, cube in named.items():
            if cube is not None and name != "result":
                other = self.try_to(f"picture {name}", partial(self._beside, shown, cube))
                views |= {} if other is None else {name: other}
        views = {name: views[name] for name in named if name in views}
        first = next(iter(views.values()))
        ready = first.decimated((PANEL_PIXELS, PANEL_PIXELS))
        (overview,) = graph.together(ready.data)
        places = panels.places_of(ready, overview.values, first, insets, self._side(first))
        inside = [place for place in places if self._covered(views, place)]
        titles = [f"{name}, {pixel_size_m(view.geobox)[0]:.4g} m" for name, view in views.items()]
        sizes = [(PANEL_PIXELS, PANEL_PIXELS)] * len(views)
        return panels.prepare(list(views.values()), inside, titles, sizes), shown

    def _beside(self, shown: View, cube: XarrayObject) -> View:
        bands = self.options["bands"] if isinstance(self.options["bands"], Mapping) else None
        bands = None if bands is None else {name: bands[name] for name in shown.bands}
        return panels.beside(shown, cube, bands=bands, time=None, units=self.options["units"])

    def _covered(self, views: Mapping[str, View], place: Bounds) -> bool:
        """Whether every view has pixels at a place."""
        return all(self.try_to("details", partial(view.within, place)) is not None for view in views.values())

    def _side(self, first: View) -> float:
        """Side of a detail in pixels of the first view: at most a third of it."""
        return float(max(4, min(panels.SIDE, min(first.geobox.shape) // 3)))

    def _drawn_bands(self) -> BandsLike:
        """Bands of true colour; where they are not there, the first band in grey."""
        bands, units = fitting(self.options["bands"], self.plain), self.options["units"]
        cube = open_cube(self.plain, units=units, bands=bands, shared=True)
        by_meaning = dict(zip(cube.canonical, cube.bands, strict=True))
        names = [by_meaning[name] for name in VISIBLE] if set(VISIBLE) <= set(by_meaning) else [cube.bands[0]]
        return {name: bands[name] for name in names} if isinstance(bands, Mapping) else names

    def compute(self, drawn: "tuple[panels.Panels, View]") -> Gathered:
        """Compute tables and pictures together."""
        sheet, shown = drawn
        holes = holes_of(shown)
        computed = graph.together(*self.tables.values(), holes.data, *sheet.lazy)
        count = len(self.tables)
        return Gathered(
            fine=self.fine,
            inputs={"result": self.fine, "input": self.low, "reference": self.reference},
            tables=dict(zip(self.tables, computed[:count], strict=True)),
            missing=self.missing,
            panels=sheet,
            pictures=[one.values for one in computed[count + 1 :]],
            shown=shown,
            holes=(holes, computed[count].values),
        )
