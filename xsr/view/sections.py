"""Sections of a report: what was computed of a result, as text, tables and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xsr.core.grid import crs_name, resolution
from xsr.core.ground import pixel_size_m
from xsr.core.names import QUANTILE, standard_dims
from xsr.core.provenance import PREFIX
from xsr.core.redact import scrub
from xsr.core.types import XarrayObject
from xsr.view import plots
from xsr.view.figures import figure, png, svg
from xsr.view.plots.library import height_over_width
from xsr.view.plots.panels import Panels, rows_on, sheet
from xsr.view.plots.reading import View
from xsr.view.plots.stretch import PERCENTILES, range_of
from xsr.view.plots.tables import band_names

if TYPE_CHECKING:
    pass

NO_REFERENCE = "No reference was given."
NO_LOW = "The input was not given (low=)."
TWO = ("result", "bicubic")
"""What is judged, in this order."""
ALL_BANDS = "all bands"
MOST_BANDS = 4
"""Bands whose curves are drawn in one plot."""
LONGEST = 400
"""Characters of a value of the provenance."""


@dataclass(frozen=True)
class Gathered:
    """What a report shows, computed."""

    fine: XarrayObject
    inputs: Mapping[str, XarrayObject | None]
    tables: Mapping[str, xr.Dataset]
    missing: Mapping[str, str]
    """Why a table or a picture is not there."""
    panels: Panels
    pictures: Sequence[NDArray[Any]]
    shown: View
    holes: tuple[View, NDArray[Any]]

    def why(self, *names: str) -> str:
        """Reasons why tables or pictures are missing, each once."""
        return " ".join(dict.fromkeys(self.missing[name] for name in names if name in self.missing))


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; the first cell of a row names it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture inlined as a data URI."""

    source: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a report."""

    key: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    missing: str = ""
    """Why there is nothing, or not all."""


def all_sections(found: Gathered) -> list[Section]:
    """Sections in the order of the page."""
    made = (pictures, origin, scores, strata, spectrum, consistency, calibration, no_data)
    return [make(found) for make in made]


def pictures(found: Gathered) -> Section:
    """Pictures of input, bicubic, result and truth."""
    shown = found.panels.views
    size, ratios = sheet(len(shown), found.panels.rows - 1, height_over_width(shown[0].geobox))
    drawing = figure(size, layout="compressed")
    limits = range_of(found.pictures[: len(shown)], PERCENTILES)
    found.panels.draw(rows_on(drawing, len(shown), ratios), found.pictures, limits)
    names = [title.partition(",")[0] for title in found.panels.titles]
    first = found.shown
    low, high = PERCENTILES
    text = [f"Bands {', '.join(first.bands)}{', ' + first.day if first.day else ''}"]
    text[0] += f", one of {first.dates} dates." if first.dates > 1 else "."
    if limits is None:
        text.append("No pixel of this date is valid.")
    else:
        text.append(
            f"Black is {limits[0]:.4g} and white {limits[1]:.4g}: the percentiles {low:g} and {high:g} of the first"
            " picture with valid pixels, for all bands and pictures. No data is transparent. Frames mark the details."
        )
    reasons = [found.why(*(f"picture {name}" for name in ("input", "bicubic", "reference")), "bicubic", "details")]
    absent = [name for name in ("input", "reference") if found.inputs[name] is None]
    reasons += [f"Not given: {' and '.join(absent)}."] if absent else []
    drawn = Picture(png(drawing), f"Pictures of {', '.join(names)}")
    return Section("pictures", "Pictures", tuple(text), (), (drawn,), " ".join(filter(None, reasons)))


def origin(found: Gathered) -> Section:
    """Provenance of the result, and what the cubes are."""
    made = {str(name): value for name, value in found.fine.attrs.items() if str(name).startswith(PREFIX)}
    rows = tuple((WORDS.get(name, name.removeprefix(PREFIX)), _text(value)) for name, value in made.items())
    tables = [Table(("how the result was made", ""), rows)] if rows else []
    cubes = {name: cube for name, cube in found.inputs.items() if cube is not None}
    described = {name: dict(_facts(cube)) for name, cube in cubes.items()}
    keys = list(dict.fromkeys(key for facts in described.values() for key in facts))
    lines = tuple((key, *(facts.get(key, "") for facts in described.values())) for key in keys)
    tables.append(Table(("cube", *described), lines))
    missing = "" if rows else "The result does not say how it was made: it has no attributes that begin with xsr_."
    return Section("origin", "Where it came from", (), tuple(tables), (), missing)


WORDS = {
    f"{PREFIX}operation": "operation",
    f"{PREFIX}version": "version of xsr",
    f"{PREFIX}model": "model",
    f"{PREFIX}weights_sha256": "SHA-256 of the weights",
    f"{PREFIX}psf": "sharpness",
    f"{PREFIX}scale": "scale (y, x)",
    f"{PREFIX}input": "input",
}
"""Attributes of a result, as the report calls them."""


def _text(value: Any) -> str:
    """Value of an attribute on a line, without secrets."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    text = ", ".join(map(str, plain)) if isinstance(plain, list | tuple) else str(plain)
    text = scrub(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text)} characters)"


def _facts(cube: XarrayObject) -> Iterator[tuple[str, str]]:
    """Name what a cube is."""
    geobox = cube.odc.geobox
    yield "sizes", ", ".join(f"{name} {size}" for name, size in cube.sizes.items())
    if geobox is not None:
        yield "CRS", crs_name(geobox)
        yield "pixel (y, x)", " x ".join(f"{size:.7g}" for size in resolution(geobox)) + " in units of the CRS"
        yield "pixel on the ground", " x ".join(f"{size:.4g}" for size in pixel_size_m(geobox)) + " m"
    plain = standard_dims(cube)
    if "time" in plain.coords and plain["time"].dtype.kind == "M":
        times = np.atleast_1d(plain["time"].values).astype("datetime64[s]")
        ends = dict.fromkeys((str(times.min()), str(times.max())))
        yield "dates", f"{times.size}: {' to '.join(ends)}"
    bands = plain["band"].values if "band" in plain.coords else getattr(plain, "data_vars", ())
    listed = [str(name) for name in np.atleast_1d(np.asarray(list(np.atleast_1d(bands)), dtype=object))]
    if listed:
        yield "bands", ", ".join(listed)
    yield "computed", "when it is needed, block by block" if cube.chunks else "in memory"


def _values(table: xr.Dataset, name: str) -> xr.DataArray:
    """Scores of one variable, of several dates the median."""
    scores = table[name]
    return scores.median("time", skipna=True) if "time" in scores.dims else scores


def _number(value: Any) -> str:
    number = float(value)
    if not np.isfinite(number):
        return "no value"
    return f"{number:.0f}" if number == round(number) and abs(number) >= 1000 else f"{number:.4g}"


def _dates(table: xr.Dataset) -> str:
    count = table.sizes.get("time", 1)
    return f"Each number is the median of {count} dates." if count > 1 else ""


def _compared(found: Gathered, kind: str, names: Sequence[str], caption: str) -> Table:
    """Metrics of the result and of bicubic, a column for each band."""
    first = found.tables[f"{kind} {TWO[0]}"]
    bands = band_names(first)
    rows = []
    for name in names:
        for who in TWO:
            table = found.tables.get(f"{kind} {who}")
            value = None if table is None or name not in table else _values(table, name)
            if table is not None and value is not None and bool(np.isfinite(value).any()):
                units = table[name].attrs.get("units", "1")
                title = f"{name.replace('_', ' ')}{'' if units == '1' else f' [{units}]'}"
                if "band" in value.dims:
                    rows.append((title, who, *map(_number, value.values), ""))
                else:
                    rows.append((title, who, *("" for _ in bands), _number(value)))
    whole = all(not row[-1] for row in rows)
    return Table(("metric", "", *bands, *(() if whole else (ALL_BANDS,))), _cut(rows, whole), caption)


def _cut(rows: Sequence[tuple[str, ...]], last: bool) -> tuple[tuple[str, ...], ...]:
    """Rows without their last cell, if that is empty in all."""
    return tuple(row[:-1] if last else row for row in rows)


def scores(found: Gathered) -> Section:
    """Scores against the reference beside those of bicubic interpolation."""
    key, title, name = "scores", "Scores beside bicubic", f"scores {TWO[0]}"
    if name not in found.tables:
        return Section(key, title, missing=found.why(name) or NO_REFERENCE)
    table = found.tables[name]
    names = [str(one) for one in table.data_vars if not str(one).startswith("low_fidelity")]
    text = tuple(filter(None, (_dates(table), "What each metric is: the documentation of xsr.evaluate.")))
    return Section(key, title, text, (_compared(found, "scores", names, ""),), (), _without_bicubic(found, "scores"))


def _without_bicubic(found: Gathered, kind: str) -> str:
    """Why bicubic interpolation is missing beside a result."""
    name = f"{kind} {TWO[1]}"
    if name in found.tables:
        return ""
    return f"Without bicubic. {found.why(name, 'bicubic') or NO_LOW}"


def _beside(found: Gathered, kind: str) -> dict[str, xr.Dataset]:
    name = f"{kind} {TWO[1]}"
    return {TWO[1]: found.tables[name]} if name in found.tables else {}


def _few(table: xr.Dataset) -> tuple[list[str], str]:
    """Bands whose curves are drawn, and what to say of the others."""
    bands = band_names(table)
    left = bands[MOST_BANDS:]
    return bands[:MOST_BANDS], f"The plot leaves {len(left)} bands to the table." if left else ""


def strata(found: Gathered) -> Section:
    """Errors where the reference is flat, and where it is steep."""
    key, title, name = "strata", "Errors by gradient", f"strata {TWO[0]}"
    if name not in found.tables:
        return Section(key, title, missing=found.why(name) or NO_REFERENCE)
    table = found.tables[name]
    bands, words = _few(table)
    drawing = figure((6.4, 3.6))
    plots.strata(table, beside=_beside(found, "strata"), bands=bands, ax=drawing.subplots())
    rows = []
    for who in TWO:
        if f"strata {who}" in found.tables:
            for band, line in zip(
                band_names(table), _values(found.tables[f"strata {who}"], "rmse").values, strict=True
            ):
                rows.append((band, who, *map(_number, line)))
    steps = [f"quarter {number + 1}" for number in range(table.sizes["stratum"])]
    caption = "Root mean square error [reflectance] by quarter of the reference's gradient, the flattest first."
    tables = (Table(("band", "", *steps), tuple(rows), caption),)
    text = tuple(filter(None, (_dates(table), words)))
    picture = Picture(svg(drawing), "Error by gradient of the reference for each band")
    return Section(key, title, text, tables, (picture,), _without_bicubic(found, "strata"))


def spectrum(found: Gathered) -> Section:
    """Agreement by frequency, and the resolution that follows."""
    key, title, name = "spectrum", "Spectrum", f"spectrum {TWO[0]}"
    if name not in found.tables:
        return Section(key, title, missing=found.why(name) or NO_REFERENCE)
    table = found.tables[name]
    if not int(table.patches.sum()):
        return Section(key, title, missing="No patch of the cube is free of no data: there is no spectrum.")
    bands, words = _few(table)
    drawing = figure((6.4, 3.6))
    low = found.inputs["input"]
    low_m = None if low is None or low.odc.geobox is None else pixel_size_m(low.odc.geobox)[0]
    plots.spectrum(table, beside=_beside(found, "spectrum"), low_m=low_m, bands=bands, ax=drawing.subplots())
    caption = (
        "Resolution: the period in metres down to which the Fourier ring correlation is 1/7 or more; two pixels if it"
        " never falls below."
    )
    tables = (_compared(found, "spectrum", ["resolution_m"], caption),)
    text = tuple(filter(None, (_dates(table), words)))
    picture = Picture(svg(drawing), "Fourier ring correlation with the reference for each band")
    return Section(key, title, text, tables, (picture,), _without_bicubic(found, "spectrum"))


def consistency(found: Gathered) -> Section:
    """Whether the result, degraded again, is the input."""
    key, title, name = "consistency", "Consistency with the input", f"consistency {TWO[0]}"
    if name not in found.tables:
        return Section(key, title, missing=found.why(name) or NO_LOW)
    table = found.tables[name]
    kept = [str(one) for one in table.data_vars if one != "count"]
    kind = table.attrs.get("psf", "sensor")
    text = [
        "The result degraded to the pixels of the input, less the input. Point spread function:"
        f" {kind if isinstance(kind, str) else 'as given'}, of the sensor {table.attrs.get('sensor', 'given')}.",
        _dates(table),
    ]
    unknown = table.attrs.get("bands_without_mtf", ())
    missing = f"The MTF of {', '.join(map(str, unknown))} is not known." if len(unknown) else ""
    tables = (_compared(found, "consistency", kept, ""),)
    missing = " ".join(filter(None, (missing, _without_bicubic(found, "consistency"))))
    return Section(key, title, tuple(filter(None, text)), tables, (), missing)


def calibration(found: Gathered) -> Section:
    """Whether the intervals hold what they say."""
    key, title, name = "calibration", "Calibration of the intervals", f"calibration {TWO[0]}"
    if name not in found.tables:
        reason = found.why(name) or ("" if QUANTILE in found.fine.dims else "The result has no dimension quantile.")
        return Section(key, title, missing=reason or NO_REFERENCE)
    table = found.tables[name]
    bands, words = _few(table)
    drawing = figure((7.6, 3.4))
    plots.calibration(table, bands=bands, axes=list(drawing.subplots(1, 2)))
    rows = []
    for number, nominal in enumerate(table.interval.values):
        for score in ("coverage", "width", "interval_score", "constant_score"):
            values = _values(table, score).isel(interval=number).values
            rows.append((f"{nominal:.0%}", score.replace("_", " "), *map(_number, values)))
    caption = "constant score: that of the best intervals of one width; where it is less, the widths say nothing."
    tables = (Table(("interval", "", *band_names(table)), tuple(rows), caption),)
    picture = Picture(svg(drawing), "Measured against nominal coverage, and mean width, for each band")
    return Section(key, title, tuple(filter(None, (_dates(table), words))), tables, (picture,))


def no_data(found: Gathered) -> Section:
    """Share of no data by band, and where it is on the date of the pictures."""
    valid = found.tables["valid"]["valid"]
    share = 1 - valid.mean("time")
    empty = (valid == 0).sum("time")
    bands = band_names(found.tables["valid"])
    rows = (
        ("share of no data", *(f"{float(one):.2%}" for one in share.values)),
        ("dates without a pixel", *(f"{int(one)} of {valid.sizes['time']}" for one in empty.values)),
    )
    view, values = found.holes
    drawing = figure((4.2, 3.8))
    ax = drawing.subplots()
    image = draw_share(ax, view, values[0])
    drawing.colorbar(image, ax=ax, label="share of no data")
    day = f", {found.shown.day}" if found.shown.day else ""
    caption = f"Pixels of which a band of {', '.join(found.shown.bands)} is no data{day}; blocks by their share."
    picture = Picture(png(drawing), "Map of no data", caption)
    return Section("no-data", "No data", (), (Table(("", *bands), rows),), (picture,))


def holes_of(shown: View) -> View:
    """Share of no data of blocks of a view, lazy: pixels of which a band is no data."""
    bad = shown.data.isnull().any("band").astype(np.float32).expand_dims("band")
    return replace(shown, data=bad).decimated((300, 300))


def draw_share(ax: Any, view: View, share: NDArray[Any]) -> Any:
    """Draw numbers from 0 to 1 on a map."""
    from xsr.view.plots.library import show_map
    from xsr.view.plots.truecolour import extent_of

    show_map(ax, view.geobox)
    return ax.imshow(
        share, extent=extent_of(view.geobox), origin="upper", aspect=ax.get_aspect(), cmap="cividis", vmin=0, vmax=1
    )
