"""Commands that look and judge: info, evaluate, report, demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xsr.cli import options
from xsr.cli.base import Command, app
from xsr.cli.inputs import Reading
from xsr.cli.models import model_lines
from xsr.cli.terminal import console, say, say_lines
from xsr.cli.train import score_table

if TYPE_CHECKING:
    import xarray as xr


@app.command(cls=Command)
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("xsr-demo"),
    model: Annotated[str, typer.Option(help="Model to use.")] = "liif_s2",
    scenes: Annotated[Path | None, typer.Option(help="Manifest whose first test series is taken.")] = None,
) -> None:
    """Super-resolve a small cube, write it, picture it and score it against bicubic interpolation.

    The cube is synthetic; with a manifest of scenes, as of xsr train, it is a real series.
    """
    from xsr.demo import run_demo
    from xsr.training.manifest import read_manifest

    options.share_cores(None)
    manifest = None if scenes is None else read_manifest(scenes)
    result = run_demo(out, scenes=manifest, model=model, say=say)
    console.print(score_table(result.scores))
    for path in (result.source, result.output, result.picture):
        say(f"wrote {path}")


@app.command(cls=Command)
def info(
    path: Annotated[str, typer.Argument(help=f"{options.ANY_CUBE}, or model.")],
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
) -> None:
    """Print what a product, cube, store or model is; pixels stay where they are.

    Of a store of xsr also its levels, how it was made, whether it is complete, and which programs open it.
    """
    from xsr.models import foreign
    from xsr.models.card import SUFFIX
    from xsr.sources.info import describe, describe_store, kind_of

    here = "://" in path or Path(path).exists()
    if Path(path).suffix in (SUFFIX, *foreign.SUFFIXES) or (not here and _is_model(path)):
        say_lines(model_lines(path))
        return
    cube = Reading(band_names, dims, crs, reader).open(path)
    say_lines({"type": kind_of(path, cube), **describe(cube), **describe_store(path)})


def _is_model(name: str) -> bool:
    from xsr.models import catalogue, registry

    return name in (*registry.names(), *registry.APART) or catalogue.find(name) is not None


@app.command(cls=Command)
def stac(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Zarr store or GeoTIFF written by xsr.")],
    template: Annotated[Path | None, typer.Option(help="STAC item (JSON) whose fields are merged.")] = None,
    datetime: Annotated[str | None, typer.Option(help="Date of a result without dates: 2024-06-15.")] = None,
    group: options.Group = None,
) -> None:
    """Write a STAC item of STORE beside it, and one of its model."""
    from xsr.items.writing import write_beside

    item = write_beside(store, True if template is None else template, group=group, datetime=datetime)
    say(f"wrote {item}")


@app.command(cls=Command)
def evaluate(
    sr: Annotated[str, typer.Argument(metavar="SR", help=f"Super-resolved cube. {options.ANY_CUBE}.")],
    reference: Annotated[str | None, typer.Argument(metavar="[REF]", help="Truth on the same grid.")] = None,
    low: Annotated[str | None, typer.Option(help="Cube that SR was made from.")] = None,
    data_range: Annotated[float, typer.Option(help="Range of the values, for PSNR and SSIM.")] = 1.0,
    strata: Annotated[int | None, typer.Option(help="Also score so many strata of the reference's gradient.")] = None,
    opensr: Annotated[
        bool, typer.Option("--opensr", help="Also score by the opensr-test protocol; needs --low.")
    ] = False,
    mtf: options.Mtf = None,
    psf: options.PsfOfLow = None,
    sensor: options.Sensor = None,
    border: Annotated[int, typer.Option(help="Pixels to leave out along each side.")] = 0,
    bands: Annotated[str | None, typer.Option(help="Bands to judge: B02,B03,B04.")] = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    units: options.Units = None,
    out: Annotated[Path | None, typer.Option(help="File to write, .json or .csv.")] = None,
    workers: options.Workers = None,
) -> None:
    """Score SR against the truth REF, the image LOW it was made from, or both.

    Where SR has a dimension quantile, the quantile 0.5 is scored, and against REF also how well the intervals hold.
    --band-names, --dim, --crs and --open hold for those of the three that have such labels and dims, state no CRS, and
    whose reader takes such an option.
    """
    import xsr
    from xsr.core.names import QUANTILE
    from xsr.operations.evaluate.intervals import estimate
    from xsr.operations.scorecard import compute_scores, score_tables, write_scores

    _check_request(out, reference, low, compared=strata is not None or opensr, opensr=opensr)
    options.share_cores(workers)
    reading = Reading(band_names, dims, crs, reader, shared=True)
    kept = options.names(bands)
    cube, truth, coarse = reading.open_each([sr, reference, low], bands=kept)
    assert cube is not None
    fine, cube = cube, estimate(cube) if QUANTILE in cube.dims else cube
    common: dict[str, Any] = {"bands": kept, "units": units, "border": border}
    sensed: dict[str, Any] = {"mtf": mtf, "psf": psf, "sensor": sensor}
    tables: dict[str, xr.Dataset] = {}
    tables["scores"] = xsr.evaluate(cube, truth, low=coarse, data_range=data_range, **sensed, **common)
    if strata is not None and truth is not None:
        tables["strata"] = xsr.strata(cube, truth, quantiles=strata, data_range=data_range, **common)
    if opensr and truth is not None and coarse is not None:
        tables["opensr"] = xsr.opensr(cube, truth, low=coarse, **{**common, "border": max(border, 16)})
    if fine is not cube and truth is not None:
        tables["calibration"] = xsr.calibration(fine, truth, **common)
    computed = compute_scores(tables)
    for table in score_tables(computed):
        console.print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_scores(computed, out)
        say(f"wrote {out}")


def _check_request(out: Path | None, reference: str | None, low: str | None, *, compared: bool, opensr: bool) -> None:
    """Refuse what cannot be scored or written, before anything is read."""
    if out is not None and out.suffix.lower() not in (".json", ".csv"):
        raise options.OptionError(f"--out {out}; expected a name that ends with .json or .csv.")
    if out is not None:
        options.check_folder("--out", out)
    if compared and reference is None:
        raise options.OptionError("--strata and --opensr compare with REF, which is not given.")
    if opensr and low is None:
        raise options.OptionError("--opensr compares with LOW; expected --low.")


@app.command(cls=Command)
def report(
    fine: Annotated[str, typer.Argument(metavar="FINE", help=f"Super-resolved cube. {options.ANY_CUBE}.")],
    low: Annotated[str | None, typer.Option(help="Cube that FINE was made from.")] = None,
    reference: Annotated[str | None, typer.Option(help="Truth on the grid of FINE.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .html.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Heading of the report.")] = None,
    time: Annotated[str | None, typer.Option(help="Date of the pictures: 2024-06-15.")] = None,
    data_range: Annotated[float, typer.Option(help="Range of the values, for PSNR and SSIM.")] = 1.0,
    psf: options.PsfOfLow = None,
    sensor: options.Sensor = None,
    border: Annotated[int, typer.Option(help="Pixels to leave out along each side.")] = 0,
    bands: Annotated[str | None, typer.Option(help="Bands to judge: B02,B03,B04.")] = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    units: options.Units = None,
    workers: options.Workers = None,
) -> None:
    """Write a report on FINE: one HTML file with pictures, provenance, scores beside bicubic, and no data.

    --band-names, --dim, --crs and --open hold for those of the three that have such labels and dims, state no CRS, and
    whose reader takes such an option.
    """
    import xsr

    if out.suffix.lower() not in (".html", ".htm"):
        raise options.OptionError(f"--out {out}; expected a name that ends with .html.")
    options.check_folder("--out", out)
    options.share_cores(workers)
    kept = options.names(bands)
    reading = Reading(band_names, dims, crs, reader, shared=True)
    cube, truth, coarse = reading.open_each([fine, reference, low], bands=kept)
    assert cube is not None
    judged: dict[str, Any] = {"data_range": data_range, "psf": psf, "sensor": sensor, "border": border}
    shown: dict[str, Any] = {"title": title, "time": time, "bands": kept, "units": units}
    out.parent.mkdir(parents=True, exist_ok=True)
    path = xsr.report(cube, truth, low=coarse, path=out, **judged, **shown)
    say(f"wrote {path}")
