"""The ``xsr`` command: as thin as the accessor."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xsr._version import __version__
from xsr.core.errors import ParameterError, XsrError

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.operations.degrade import Noise
    from xsr.operations.store import StoreReport

app = typer.Typer(help="Super-resolve Earth-observation data cubes.", no_args_is_help=True, add_completion=False)
models_app = typer.Typer(help="Models: list, show, check, export.", no_args_is_help=True)
app.add_typer(models_app, name="models")
console = Console()


def main() -> None:
    """Run the command; errors of xsr become one line on standard error and exit code 1."""
    try:
        app()
    except (XsrError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        console.print(__version__, highlight=False)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("xsr-demo"),
    model: Annotated[str, typer.Option(help="Model to use.")] = "liif_s2",
) -> None:
    """Super-resolve a small cube, write it, picture it and score it against bicubic interpolation.

    The cube is synthetic; with XSR_DATA set to the folder of real images it is the Sentinel-2 series 31UES.
    """
    from xsr.demo import data_folder, run_demo

    _share_cores(None)
    result = run_demo(out, data=data_folder(), model=model, say=lambda line: console.print(line, highlight=False))
    console.print(score_table(result.scores))
    for path in (result.source, result.output, result.picture):
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def run(
    source: Annotated[str, typer.Argument(metavar="IN", help="Zarr store, NetCDF file or GeoTIFF.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Zarr store to write.")],
    scale: Annotated[float | None, typer.Option(help="Linear factor, any number >= 1.")] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Pixel size in units of the CRS, instead of --scale.")
    ] = None,
    t: Annotated[
        str | None, typer.Option("--t", help="Instants: 2024-06-15, several with commas, or a frequency such as 10D.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model by name or path (.safetensors, .yaml), architecture, or interpolation method; liif_s2 by"
            " default, temporal_liif_s2 with --t."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weight file, where --model is an architecture.")] = None,
    bands: Annotated[str | None, typer.Option(help="Bands to keep: B02,B03,B04.")] = None,
    bbox: Annotated[str | None, typer.Option(help="left,bottom,right,top in the CRS of the cube.")] = None,
    units: Annotated[str | None, typer.Option(help="reflectance, percent, dn10000, dn10000-1000 or a factor.")] = None,
    chunks: Annotated[int | None, typer.Option(help="Side of an output block in pixels.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or uint16.")] = "float32",
    zarr_format: Annotated[int, typer.Option(help="3, or 2 for GDAL before 3.12.")] = 3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a store that was interrupted.")] = False,
    errors: Annotated[
        str, typer.Option(help="quarantine: set blocks that fail aside and go on; raise: end at the first.")
    ] = "quarantine",
    force: Annotated[
        bool, typer.Option("--force", help="Pass the lock of a writer that may be dead, and the check of free space.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is fast and safe.")
    ] = "auto",
    workers: Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")] = None,
) -> None:
    """Super-resolve (or interpolate) IN and write a Zarr store OUT.

    Exit code 1 if a block could not be computed; --resume tries such blocks again.
    """
    import xsr

    if Path(source).resolve() == Path(out).resolve():
        raise ParameterError(f"OUT is IN ({source}); expected another path.")
    _share_cores(workers)
    fine = _make(
        source=source if "://" in source else str(Path(source).resolve()),
        scale=scale,
        resolution=resolution,
        t=_names(t),
        model=model,
        weights=None if weights is None else str(Path(weights).resolve()),
        bands=_names(bands),
        bbox=None if bbox is None else _bbox(bbox),
        units=units,
        chunks=chunks,
        device=device,
        precision=precision,
    )
    report = xsr.to_zarr(
        fine,
        out,
        overwrite=overwrite,
        resume=resume,
        errors=errors,  # type: ignore[arg-type]
        force=force,
        dtype=dtype,  # type: ignore[arg-type]
        zarr_format=zarr_format,  # type: ignore[arg-type]
    )
    _tell_written(report, fine, resume)
    if report.quarantined:
        raise typer.Exit(1)


def _tell_written(report: "StoreReport", fine: "XarrayObject", resume: bool) -> None:
    """Say what a store holds, and what it does not."""
    begin = (
        f"wrote {report.path}"
        if report.computed or report.quarantined
        else f"{report.path} was complete, nothing to do"
    )
    _say(f"{begin}: {dict(fine.sizes)}, {report.blocks} blocks, {report.valid} valid pixels, {report.clipped} clipped")
    if resume and 0 < report.computed < report.blocks:
        _say(f"{report.computed} blocks were computed now, the others were there")
    if report.quarantined:
        _say(f"{len(report.quarantined)} blocks could not be computed; --resume tries them again:")
    for bad in report.quarantined:
        _say(f"  {bad}")


def _make(
    *,
    source: str,
    t: Sequence[str] | None,
    model: str | None,
    weights: str | None,
    bbox: Sequence[float] | None,
    scale: float | None,
    resolution: float | None,
    device: str,
    precision: str = "auto",
    **common: Any,
) -> "XarrayObject":
    """Build the lazy result of ``run``, and note in it what it was built from, so that `verify` can build it again."""
    import xsr
    from xsr.kernels.resample import METHODS
    from xsr.sources.files import crop, open_file

    target: dict[str, Any] = {"scale": scale, "resolution": resolution}
    instants = t[0] if t is not None and len(t) == 1 else t  # one text may be a frequency
    arguments = {"source": source, "t": t, "model": model, "weights": weights, "bbox": bbox, "device": device}
    cube = open_file(source)
    if bbox is not None:
        left, bottom, right, top = bbox
        cube = crop(cube, (left, bottom, right, top))
    if model in METHODS:
        fine = xsr.interpolate(cube, t=instants, method=model, **target, **common)  # type: ignore[arg-type]
    elif model is not None and _has_one_factor(model, weights):
        if resolution is not None or t is not None:
            raise ParameterError(
                f"--resolution {resolution}, --t {t}; model {model!r} knows one factor and each date by itself. Leave"
                " the options out."
            )
        fine = xsr.sisr(cube, model=model, weights=weights, scale=scale, device=device, precision=precision, **common)  # type: ignore[arg-type]
    else:
        fine = xsr.liif(cube, t=instants, model=model, device=device, precision=precision, **target, **common)  # type: ignore[arg-type]
    fine.attrs["xsr_input"] = source.rstrip("/").rsplit("/", 1)[-1]
    if "xsr" in cube.attrs:  # the input is a store of ours
        fine.attrs["xsr_input_fingerprint"] = cube.attrs["xsr"]["fingerprint"]
    arguments["precision"] = fine.attrs.get("xsr_precision", precision)  # a repair elsewhere uses the same
    fine.attrs["xsr_command"] = json.dumps({"command": "run", **arguments, **target, **common})
    return fine


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Zarr store written by xsr.")],
    repair: Annotated[bool, typer.Option("--repair", help="Compute bad blocks again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Pass the lock of a writer that may be dead.")] = False,
    workers: Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")] = None,
) -> None:
    """Read every block of STORE, compare it with the checksum of what was written, and list the bad ones.

    Exit code 1 if a block is bad or missing. What xsr run wrote can be repaired from its input.
    """
    import xsr
    from xsr.operations.verify import command_of

    cube = None
    if repair:
        _share_cores(workers)
        arguments = command_of(store)
        if arguments.pop("command", None) != "run":
            raise ParameterError(
                f"{store} does not say how it was made; --repair needs a store of xsr run. In Python:"
                " xsr.verify(path, repair=cube)."
            )
        cube = _make(**arguments)
    report = xsr.verify(store, repair=cube, force=force)
    for bad in report.repaired:
        _say(f"repaired {bad}")
    for bad in report.bad:
        _say(f"bad {bad}")
    told = "complete" if report.complete else "not complete: xsr run --resume goes on with it"
    _say(f"{report.path}: {report.blocks} blocks, {len(report.bad)} bad, {told}")
    if not report.ok:
        raise typer.Exit(1)


def _has_one_factor(model: str, weights: str | None) -> bool:
    from xsr.models import registry

    return registry.card(model, weights).factor is not None


@app.command()
def degrade(
    source: Annotated[str, typer.Argument(metavar="IN", help="Zarr store, NetCDF file or GeoTIFF.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Zarr store to write.")],
    scale: Annotated[float, typer.Option(help="Linear factor between the pixel sizes, any number >= 1.")],
    mtf: Annotated[float | None, typer.Option(help="MTF at Nyquist; by default that of the sensor's bands.")] = None,
    psf: Annotated[str, typer.Option(help="gaussian, detector or effective.")] = "gaussian",
    sensor: Annotated[str, typer.Option(help="Sensor whose table names MTF and noise.")] = "sentinel-2",
    noise: Annotated[str | None, typer.Option(help="Standard deviation in reflectance, or sensor.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    bands: Annotated[str | None, typer.Option(help="Bands to keep: B02,B03,B04.")] = None,
    units: Annotated[str | None, typer.Option(help="reflectance, percent, dn10000, dn10000-1000 or a factor.")] = None,
    chunks: Annotated[int | None, typer.Option(help="Side of an output block in pixels.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
) -> None:
    """Write to OUT what a sensor with pixels SCALE times larger would have seen of IN."""
    import xsr
    from xsr.sources.files import open_file

    if Path(source).resolve() == Path(out).resolve():
        raise ParameterError(f"OUT is IN ({source}); expected another path.")
    _check_folder("OUT", out)
    low = xsr.degrade(
        open_file(source),
        scale=scale,
        mtf=mtf,
        psf=psf,  # type: ignore[arg-type]
        sensor=sensor,
        noise=_noise(noise),
        seed=seed,
        bands=_names(bands),
        units=units,
        chunks=chunks,
    )
    low.attrs["xsr_input"] = Path(source).name if "://" not in source else source
    report = xsr.to_zarr(low, out, overwrite=overwrite)
    told = f"wrote {report.path}: {dict(low.sizes)}, {report.blocks} blocks, {report.valid} valid pixels"
    console.print(told, highlight=False, markup=False, soft_wrap=True)


@app.command()
def guided(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Temperature: Zarr store, NetCDF file or GeoTIFF.")],
    guide: Annotated[str, typer.Argument(metavar="GUIDE", help="Reflectance of finer pixels, likewise.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Zarr store to write.")],
    model: Annotated[
        str | None, typer.Option(help="Guided network by name or path; a packaged one by default.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Instead of a network: guided_filter, tsharp, bicubic or bilinear.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Linear factor; by default the guide's grid.")] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Pixel size in units of the CRS, instead of --scale.")
    ] = None,
    conserve: Annotated[
        str | None, typer.Option(help="Means over TARGET's pixels to hold: radiance or temperature.")
    ] = None,
    coregister: Annotated[bool, typer.Option("--coregister", help="Lay the guide on TARGET first.")] = False,
    tolerance: Annotated[float, typer.Option(help="Days by which the dates of both may differ.")] = 16.0,
    units: Annotated[
        str | None, typer.Option(help="Of TARGET: K, degC, landsat-c2-st, modis-lst or ecostress-lst.")
    ] = None,
    guide_units: Annotated[
        str | None, typer.Option(help="Of GUIDE: reflectance, percent, dn10000, dn10000-1000 or a factor.")
    ] = None,
    guide_sensor: Annotated[str, typer.Option(help="Sensor whose band names GUIDE uses.")] = "sentinel-2",
    chunks: Annotated[int | None, typer.Option(help="Side of an output block in pixels.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a store that was interrupted.")] = False,
    workers: Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")] = None,
) -> None:
    """Sharpen the temperature TARGET by the optical image GUIDE and write a Zarr store OUT."""
    import xsr
    from xsr.sources.files import open_file

    if Path(out).resolve() in (Path(target).resolve(), Path(guide).resolve()):
        raise ParameterError(f"OUT is one of the inputs ({out}); expected another path.")
    _check_folder("OUT", out)
    _share_cores(workers)
    fine = xsr.guided(
        open_file(target),
        open_file(guide),
        scale=scale,
        resolution=resolution,
        model=model,
        method=method,  # type: ignore[arg-type]
        conserve=conserve,  # type: ignore[arg-type]
        coregister=coregister,
        tolerance=tolerance,
        units=units,
        guide_units=guide_units,
        guide_sensor=guide_sensor,
        device=device,
        chunks=chunks,
    )
    fine.attrs["xsr_input"] = target.rstrip("/").rsplit("/", 1)[-1]
    _tell_written(xsr.to_zarr(fine, out, overwrite=overwrite, resume=resume), fine, resume)


def _noise(text: str | None) -> "Noise":
    if text is None or text == "sensor":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f"--noise {text!r}; expected a standard deviation in reflectance, or 'sensor'.") from None


@app.command()
def fetch(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Zarr store to write, or to continue.")],
    stac: Annotated[str, typer.Option(help="STAC API or static catalog: address, or path on disk.")],
    aoi: Annotated[Path, typer.Option(help="Area of interest: GeoJSON, shapefile, GeoPackage, in any CRS.")],
    first: Annotated[str, typer.Option("--from", help="First day: 2024-04-01.")],
    last: Annotated[str, typer.Option("--to", help="Last day: 2024-09-30.")],
    bands: Annotated[str | None, typer.Option(help="Bands to keep: B02,B03,B04; all by default.")] = None,
    collection: Annotated[str | None, typer.Option(help="Collection to search.")] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Pixel size in units of the CRS; the finest by default.")
    ] = None,
    max_cloud: Annotated[float | None, typer.Option(help="Largest cloud cover of a date in percent.")] = None,
    mask: Annotated[bool, typer.Option("--mask", help="Set clouds, cloud shadows and defects to no data.")] = False,
    errors: Annotated[str, typer.Option(help="About files that cannot be opened: raise, or drop the date.")] = "raise",
) -> None:
    """Download a STAC search to OUT, date by date; run it again to continue, or to add dates."""
    import xsr

    _check_folder("OUT", out)
    online = "://" in stac
    report = xsr.fetch(
        out,
        None if online else stac,
        url=stac if online else None,
        geometry=aoi,
        datetime=f"{first}/{last}",
        collection=collection,
        bands=_names(bands),
        resolution=resolution,
        max_cloud=max_cloud,
        mask=mask,
        errors=errors,  # type: ignore[arg-type]
    )
    told = f"wrote {report.path}: {report.dates} dates, {report.fetched} of them new"
    console.print(told, highlight=False, markup=False, soft_wrap=True)


@app.command()
def info(
    path: Annotated[
        str, typer.Argument(help="Product (SAFE, Theia, EOPF), STAC file, Zarr store, NetCDF, GeoTIFF, or model.")
    ],
) -> None:
    """Print what a product, cube or model is; pixels stay where they are."""
    from xsr.models import foreign
    from xsr.models.card import SUFFIX
    from xsr.sources.info import describe, open_any

    here = "://" in path or Path(path).exists()
    if Path(path).suffix in (SUFFIX, *foreign.SUFFIXES) or (not here and _is_model(path)):
        lines = _model_lines(path)
    else:
        kind, cube = open_any(path)
        lines = {"type": kind, **describe(cube)}
    for heading, text in lines.items():
        for number, line in enumerate(text.splitlines()):
            label = f"{heading}:" if number == 0 else ""
            console.print(f"{label:14}{line}", highlight=False, markup=False, soft_wrap=True)


def _is_model(name: str) -> bool:
    from xsr.models import catalogue, registry

    return name in registry.names() or catalogue.find(name) is not None


def _model_lines(name: str) -> dict[str, str]:
    """Describe a model line by line; `xsr models show` prints its whole card."""
    from xsr.models import registry

    told = registry.describe(name)
    lines = {
        "type": "model" if told.kind == "weights" else f"architecture ({told.kind})",
        "name": told.name,
        "architecture": told.architecture,
        "bands": ", ".join(told.bands),
        "pixel size": "" if told.gsd_in_m is None else f"{told.gsd_in_m:g} m",
        "scale": told.scale,
        "parameters": _count(told.parameters),
        "licence": told.licence,
    }
    return {heading: text for heading, text in lines.items() if text}


@app.command()
def evaluate(
    sr: Annotated[str, typer.Argument(metavar="SR", help="Super-resolved cube: Zarr store, NetCDF file or GeoTIFF.")],
    reference: Annotated[str | None, typer.Argument(metavar="[REF]", help="Truth on the same grid.")] = None,
    low: Annotated[str | None, typer.Option(help="Cube that SR was made from.")] = None,
    data_range: Annotated[float, typer.Option(help="Range of the values, for PSNR and SSIM.")] = 1.0,
    strata: Annotated[int | None, typer.Option(help="Also score so many strata of the reference's gradient.")] = None,
    opensr: Annotated[
        bool, typer.Option("--opensr", help="Also score by the opensr-test protocol; needs --low.")
    ] = False,
    mtf: Annotated[
        float | None, typer.Option(help="MTF of the low-resolution sensor; by default that of its bands.")
    ] = None,
    psf: Annotated[str, typer.Option(help="gaussian, detector or effective, for the fidelity.")] = "gaussian",
    sensor: Annotated[str, typer.Option(help="Low-resolution sensor, whose table names the MTF.")] = "sentinel-2",
    border: Annotated[int, typer.Option(help="Pixels to leave out along each side.")] = 0,
    bands: Annotated[str | None, typer.Option(help="Bands to judge: B02,B03,B04.")] = None,
    units: Annotated[str | None, typer.Option(help="reflectance, percent, dn10000, dn10000-1000 or a factor.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, .json or .csv.")] = None,
    workers: Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")] = None,
) -> None:
    """Score SR against the truth REF, the image LOW it was made from, or both."""
    import xsr
    from xsr.operations.scorecard import compute_scores, score_tables, write_scores
    from xsr.sources.files import open_file

    if out is not None and out.suffix.lower() not in (".json", ".csv"):
        raise ParameterError(f"--out {out}; expected a name that ends with .json or .csv.")
    if out is not None:
        _check_folder("--out", out)
    if (strata is not None or opensr) and reference is None:
        raise ParameterError("--strata and --opensr compare with REF, which is not given.")
    if opensr and low is None:
        raise ParameterError("--opensr compares with LOW; expected --low.")
    _share_cores(workers)
    cube, truth, coarse = (None if name is None else open_file(name) for name in (sr, reference, low))
    assert cube is not None
    common = {"bands": _names(bands), "units": units}
    seen = {"mtf": mtf, "psf": psf, "sensor": sensor}
    tables = {"scores": xsr.evaluate(cube, truth, low=coarse, data_range=data_range, border=border, **seen, **common)}  # type: ignore[arg-type]
    if strata is not None and truth is not None:
        tables["strata"] = xsr.strata(cube, truth, quantiles=strata, data_range=data_range, border=border, **common)  # type: ignore[arg-type]
    if opensr and truth is not None and coarse is not None:
        tables["opensr"] = xsr.opensr(cube, truth, low=coarse, border=max(border, 16), **common)  # type: ignore[arg-type]
    computed = compute_scores(tables)
    for table in score_tables(computed):
        console.print(table)
    if out is not None:
        write_scores(computed, out)
        console.print(f"wrote {out}", highlight=False, markup=False, soft_wrap=True)


@models_app.command("list")
def models_list() -> None:
    """List trained models, then the architectures that weights can be given to."""
    from xsr.models import catalogue, registry

    trained = Table("model", "architecture", "parameters", "bands", "scales", "licence")
    for name in registry.names():
        told = registry.describe(name)
        trained.add_row(
            name, told.architecture, _count(told.parameters), " ".join(told.bands), told.scale, told.licence
        )
    console.print(trained)
    untrained = Table("architecture", "kind", "trainable", "total", "tiling")
    for name in catalogue.LISTED:
        told = registry.describe(name)
        untrained.add_row(name, told.kind, _count(told.trainable), _count(told.parameters), told.tiling)
    console.print(untrained)


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="Model or architecture by name, or path.")]) -> None:
    """Print the card of a model, or what is known of an architecture."""
    from dataclasses import asdict

    from xsr.models import catalogue, registry

    known = registry.card(name) if catalogue.find(name) is None else registry.describe(name)
    console.print_json(data=asdict(known))


@models_app.command("check")
def models_check(
    model: Annotated[str, typer.Argument(metavar="CARD", help="Model by name, weight file, or foreign card (.yaml).")],
    weights: Annotated[str | None, typer.Option(help="Weight file, where CARD is an architecture.")] = None,
) -> None:
    """Open a model, measure how far it looks and say whether its margin is enough; exit code 1 if not."""
    from xsr.models.check import check

    found = check(model, weights)
    rows = {"model": found.name, "architecture": found.architecture, "bands": " ".join(found.bands)}
    if found.opset is not None:
        rows["opset"] = str(found.opset)
    sides = " x ".join("any" if side is None else str(side) for side in found.size or ())
    rows["input size"] = f"{sides} alone: it cannot be tiled" if sides else "any"
    rows["factor"] = f"{found.factor}"
    rows["margin"] = _margin(found.margin, found.factor) + (" is enough" if found.enough else " is not enough")
    if found.size is None:
        rows["difference"] = f"{found.difference:.1e} of the output's spread, tile against whole"
        rows["measured"] = "none is wide enough" if found.smallest is None else _margin(found.smallest, found.factor)
    for name, value in rows.items():
        console.print(f"{name + ':':14}{value}", highlight=False, markup=False, soft_wrap=True)
    if not found.enough:
        raise typer.Exit(1)


def _margin(pixels: int, factor: int) -> str:
    return f"{pixels * factor} output pixels ({pixels} input pixels)"


@models_app.command("export")
def models_export(
    name: Annotated[str, typer.Argument(help="Model by name or path, or an architecture with --weights.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    format: Annotated[str, typer.Option(help="onnx, torchscript or torch.export.")] = "onnx",
    weights: Annotated[str | None, typer.Option(help="Weight file, where NAME is an architecture.")] = None,
    units: Annotated[str, typer.Option(help="Numbers outside: dn10000 or reflectance.")] = "dn10000",
) -> None:
    """Write a model for other programs."""
    from xsr.models.export import export

    path = export(name, out, weights=weights, format=format, units=units)  # type: ignore[arg-type]
    console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe, for example liif_s2.")],
    out: Annotated[Path | None, typer.Option(help="Weight file to write; RECIPE.safetensors by default.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of training images; XSR_DATA by default.")] = None,
    synthetic_only: Annotated[bool, typer.Option("--synthetic-only", help="Train on synthetic scenes alone.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes instead of all steps.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch.")] = None,
) -> None:
    """Train a model by a recipe and write its weights and card."""
    import torch

    from xsr.demo import data_folder
    from xsr.training import recipes
    from xsr.training.run import record_scores, run_recipe, score_model

    if threads is not None:
        torch.set_num_threads(threads)
    root = data or data_folder()
    if root is None and not synthetic_only:
        raise ParameterError(
            "no training images: set XSR_DATA or pass --data, or train on synthetic scenes with --synthetic-only."
        )
    path = out or Path(f"{recipe}.safetensors")
    _check_folder("--out", path)
    report = _Report()
    real = None if synthetic_only else root
    card = run_recipe(recipes.get(recipe), path, data=real, minutes=minutes, device=device, report=report)
    # Other tasks have benchmarks of their own: temporal.py, thesis.py and thermal.py.
    if root is not None and recipes.get(recipe).task in ("liif", "fixed"):
        scores = score_model(path, root)
        record_scores(path, scores)
        console.print(score_table(scores))
    told = f"wrote {path} ({card.parameters} parameters, sha256 {card.sha256})"
    console.print(told, highlight=False, markup=False, soft_wrap=True)


class _Report:
    """Prints the mean gain over bicubic interpolation every hundred steps."""

    def __init__(self) -> None:
        self._ratios: list[float] = []

    def __call__(self, progress: "object") -> None:
        import math

        from xsr.training.loop import Progress

        assert isinstance(progress, Progress)
        self._ratios.append(progress.loss / max(progress.baseline, 1e-9))
        if progress.step % 100 == 0:
            gain = -20 * math.log10(sum(self._ratios) / len(self._ratios))
            console.print(f"step {progress.step}, {progress.share:.0%}, error {gain:+.2f} dB below bicubic")
            self._ratios.clear()


def score_table(scores: "object") -> Table:
    """Table of scores against bicubic interpolation."""
    from xsr.training.scores import Score

    table = Table("place", "scale", "dates", "bicubic dB", "model dB", "gain dB")
    assert isinstance(scores, list | tuple)
    for row in scores:
        assert isinstance(row, Score)
        numbers = (f"{row.bicubic_db:.2f}", f"{row.model_db:.2f}", f"{row.gain_db:+.2f}")
        table.add_row(row.place, f"x{row.scale:g}", str(row.dates), *numbers)
    return table


def _share_cores(workers: int | None) -> None:
    """Give Dask ``workers`` threads and PyTorch the cores that are left to each, so that pools do not fight."""
    import dask
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = cores if workers is None else workers
    if count < 1:
        raise ParameterError(f"workers={count}; expected at least 1.")
    dask.config.set(num_workers=count)
    torch.set_num_threads(max(1, cores // count))


def _check_folder(option: str, path: str | Path) -> None:
    """Refuse a place to write whose folder is not there, before anything is computed."""
    folder = Path(path).resolve().parent
    if "://" not in str(path) and not folder.is_dir():
        raise ParameterError(f"{option} {path}; expected a path in a folder that exists. Make {folder} first.")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _bbox(text: str) -> tuple[float, float, float, float]:
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"--bbox {text!r}; expected four numbers: left,bottom,right,top.") from None
    return left, bottom, right, top


if __name__ == "__main__":
    main()
