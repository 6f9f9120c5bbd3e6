"""Commands that write a store: run, native, degrade, guided, fetch; and verify, which mends one."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xsr._version import __version__
from xsr.cli import options
from xsr.cli.base import Command, app
from xsr.cli.build import Request
from xsr.cli.inputs import Reading
from xsr.cli.terminal import say

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.operations.degrade import Noise
    from xsr.operations.store import StoreReport


@app.command(cls=Command)
def run(
    source: options.In,
    out: options.Out,
    scale: options.Scale = None,
    resolution: options.Resolution = None,
    like: Annotated[str | None, typer.Option(help="File whose grid to use, instead of --scale.")] = None,
    t: Annotated[
        str | None,
        typer.Option("--t", help="Target times: 2024-06-15, several with commas, or a frequency such as 10D."),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="With --t: clear dates that make a pixel.")] = None,
    window: Annotated[float | None, typer.Option(help="With --t: days beyond which a date is not used.")] = None,
    extrapolate: Annotated[
        float | None, typer.Option(help="With --t: days by which a target time may lie outside the series.")
    ] = None,
    fill: Annotated[
        bool | None, typer.Option("--fill/--no-fill", help="With --t: fill gaps of a date from the others first.")
    ] = None,
    temporal: Annotated[
        str | None, typer.Option(help="With --t and an interpolation method: linear, nearest or mean.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model by name or path (.safetensors, .yaml), architecture, or interpolation method; liif_s2 by"
            " default, temporal_liif_s2 with --t."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weight file, where --model is an architecture.")] = None,
    bands: options.Bands = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    bbox: Annotated[str | None, typer.Option(help="left,bottom,right,top in the CRS of the cube.")] = None,
    units: options.Units = None,
    chunks: options.Chunks = None,
    dtype: Annotated[str, typer.Option(help="float32 or uint16.")] = "float32",
    zarr_format: Annotated[int, typer.Option(help="3, or 2 for GDAL before 3.12.")] = 3,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    errors: Annotated[
        str, typer.Option(help="quarantine: set blocks that fail aside and go on; raise: end at the first.")
    ] = "quarantine",
    force: options.Force = False,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is fast and safe.")
    ] = "auto",
    workers: options.Workers = None,
) -> None:
    """Super-resolve (or interpolate) IN and write a Zarr store OUT.

    Exit code 1 if a block could not be computed; --resume tries such blocks again.
    """
    options.check_apart(out, IN=source)
    options.check_folder("OUT", out)
    _check_packing(dtype, zarr_format, errors)
    request = Request(
        source=options.absolute(source),
        t=options.names(t),
        model=model,
        weights=None if weights is None else str(Path(weights).resolve()),
        bbox=None if bbox is None else options.bbox(bbox),
        device=device,
        precision=precision,
        scale=scale,
        resolution=resolution,
        bands=options.names(bands),
        units=units,
        chunks=chunks,
        like=None if like is None else options.absolute(like),
        frames=frames,
        window=window,
        extrapolate=extrapolate,
        fill=fill,
        temporal=temporal,
        band_names=band_names,
        dims=dims or None,
        crs=crs,
        reader=reader or None,
    )
    request.check()
    options.share_cores(workers)
    fine = request.build()
    packing = {"dtype": dtype, "zarr_format": zarr_format}
    _write(fine, out, resume=resume, overwrite=overwrite, errors=errors, force=force, **packing)


def _check_packing(dtype: str, zarr_format: int, errors: str) -> None:
    options.check_choice("--dtype", dtype, ("float32", "uint16"))
    options.check_choice("--zarr-format", str(zarr_format), ("3", "2"))
    options.check_choice("--errors", errors, ("quarantine", "raise"))


def _write(fine: "XarrayObject", out: str, *, resume: bool, **packing: Any) -> None:
    """Write a store, say what it holds, and leave with exit code 1 if a block could not be computed."""
    import xsr

    report = xsr.to_zarr(fine, out, resume=resume, **packing)
    _say_written(report, fine.sizes, resume=resume)
    if report.quarantined:
        raise typer.Exit(1)


def _say_written(report: "StoreReport", sizes: Mapping[Any, int], *, resume: bool) -> None:
    """Say what a store holds, and what it does not."""
    begin = (
        f"wrote {report.path}"
        if report.computed or report.quarantined
        else f"{report.path} was complete, nothing to do"
    )
    say(f"{begin}: {dict(sizes)}, {report.blocks} blocks, {report.valid} valid pixels, {report.clipped} clipped")
    if resume and 0 < report.computed < report.blocks:
        say(f"{report.computed} blocks were computed now, the others were there")
    if report.quarantined:
        say(f"{len(report.quarantined)} blocks could not be computed; --resume tries them again:")
    for bad in report.quarantined:
        say(f"  {bad}")


@app.command(cls=Command)
def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Zarr store written by xsr.")],
    repair: Annotated[bool, typer.Option("--repair", help="Compute bad blocks again.")] = False,
    force: options.Force = False,
    workers: options.Workers = None,
) -> None:
    """Read every block of STORE, compare it with the checksum of what was written, and list the bad ones.

    Exit code 1 if a block is bad or missing. What xsr run wrote can be repaired from its input.
    """
    import xsr

    cube = None
    if repair:
        options.share_cores(workers)
        cube = _rebuild(store)
    report = xsr.verify(store, repair=cube, force=force)
    for bad in report.repaired:
        say(f"repaired {bad}")
    for bad in report.bad:
        say(f"bad {bad}")
    state = "complete" if report.complete else "not complete: xsr run --resume goes on with it"
    say(f"{report.path}: {report.blocks} blocks, {len(report.bad)} bad, {state}")
    if not report.ok:
        raise typer.Exit(1)


def _rebuild(store: str) -> "XarrayObject":
    """Build what a store was written from."""
    from xsr.operations.verify import command_of

    arguments = command_of(store)
    if arguments.pop("command", None) != "run":
        raise options.OptionError(f"{store} does not say how it was made; --repair needs a store of xsr run.")
    unknown = sorted(set(arguments) - {field.name for field in fields(Request)})
    if unknown:
        raise options.OptionError(f"{store} was made with {unknown}, unknown to xsr {__version__}. Update xsr.")
    return Request(**arguments).build()


@app.command(cls=Command)
def native(
    source: options.In,
    out: options.Out,
    crs: Annotated[
        str | None, typer.Option(help="UTM zone of the sensor's pixels, EPSG:32631; found by default.")
    ] = None,
    gsd: Annotated[float | None, typer.Option(help="Pixel size of the sensor in metres; found by default.")] = None,
    bands: options.Bands = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    reader: options.Reader = None,
    units: options.Units = None,
    chunks: options.Chunks = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    workers: options.Workers = None,
) -> None:
    """Write to OUT the sensor's own pixels of IN, which was resampled from them by nearest neighbour."""
    import xsr

    options.check_apart(out, IN=source)
    options.check_folder("OUT", out)
    options.share_cores(workers)
    kept = options.names(bands)
    cube = Reading(band_names, dims, None, reader).open(source, bands=kept)
    found = xsr.native(cube, crs=crs, gsd=gsd, bands=kept, units=units, chunks=chunks)
    found.attrs["xsr_input"] = source.rstrip("/").rsplit("/", 1)[-1]
    _write(found, out, resume=resume, overwrite=overwrite)
    say(f"zone {found.attrs['xsr_native_crs']}, {found.attrs['xsr_native_reproduced']:.2%} of the sample reproduced")


@app.command(cls=Command)
def degrade(
    source: options.In,
    out: options.Out,
    scale: Annotated[float, typer.Option(help="Linear factor between the pixel sizes, any number >= 1.")],
    mtf: options.Mtf = None,
    psf: options.Psf = "gaussian",
    sensor: options.Sensor = None,
    noise: Annotated[str | None, typer.Option(help="Standard deviation in reflectance, or sensor.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    bands: options.Bands = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    units: options.Units = None,
    chunks: options.Chunks = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    workers: options.Workers = None,
) -> None:
    """Write to OUT what a sensor with pixels SCALE times larger would have observed of IN."""
    import xsr

    options.check_apart(out, IN=source)
    options.check_folder("OUT", out)
    options.share_cores(workers)
    kept = options.names(bands)
    low = xsr.degrade(
        Reading(band_names, dims, crs, reader).open(source, bands=kept),
        scale=scale,
        mtf=mtf,
        psf=psf,  # type: ignore[arg-type]
        sensor=sensor,
        noise=_noise(noise),
        seed=seed,
        bands=kept,
        units=units,
        chunks=chunks,
    )
    low.attrs["xsr_input"] = Path(source).name if "://" not in source else source
    _write(low, out, resume=resume, overwrite=overwrite)


def _noise(text: str | None) -> "Noise":
    if text is None or text == "sensor":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise options.OptionError(
            f"--noise {text!r}; expected a standard deviation in reflectance, or 'sensor'."
        ) from None


@app.command(cls=Command)
def guided(
    target: Annotated[str, typer.Argument(metavar="TARGET", help=f"Temperature. {options.ANY_CUBE}.")],
    guide: Annotated[str, typer.Argument(metavar="GUIDE", help="Reflectance of finer pixels, likewise.")],
    out: options.Out,
    model: Annotated[
        str | None, typer.Option(help="Guided network by name or path; a packaged one by default.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Instead of a network: guided_filter, tsharp, bicubic or bilinear.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Linear factor; by default the guide's grid.")] = None,
    resolution: options.Resolution = None,
    like: Annotated[str | None, typer.Option(help="File whose grid to use, instead of --scale.")] = None,
    conserve: Annotated[
        str | None, typer.Option(help="Means over TARGET's pixels to hold: radiance or temperature.")
    ] = None,
    coregister: Annotated[bool, typer.Option("--coregister", help="Register the guide to TARGET first.")] = False,
    tolerance: Annotated[float, typer.Option(help="Days by which the dates of both may differ.")] = 16.0,
    units: Annotated[
        str | None, typer.Option(help="Of TARGET: K, degC, landsat-c2-st, modis-lst or ecostress-lst.")
    ] = None,
    crs: Annotated[str | None, typer.Option(help="Of TARGET, where it states none: EPSG:32633.")] = None,
    dims: Annotated[
        list[str] | None, typer.Option("--dim", metavar="NAME=DIM", help="What a dim of TARGET is: t=time. Repeatable.")
    ] = None,
    guide_units: Annotated[
        str | None, typer.Option(help="Of GUIDE: reflectance, percent, dn10000, dn10000-1000 or a factor.")
    ] = None,
    guide_sensor: Annotated[str, typer.Option(help="Sensor whose band names GUIDE uses.")] = "sentinel-2",
    guide_band_names: Annotated[
        str | None, typer.Option(help="Names of GUIDE's bands: B04=red_band,B08=4; or of all, in order.")
    ] = None,
    chunks: options.Chunks = None,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    workers: options.Workers = None,
) -> None:
    """Sharpen the temperature TARGET by the optical image GUIDE and write a Zarr store OUT."""
    import xsr

    options.check_apart(out, TARGET=target, GUIDE=guide)
    options.check_folder("OUT", out)
    options.share_cores(workers)
    fine = xsr.guided(
        Reading(dims=dims, crs=crs).open(target),
        Reading(guide_band_names).open(guide),
        scale=scale,
        resolution=resolution,
        like=None if like is None else Reading().open(like),
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
    _write(fine, out, resume=resume, overwrite=overwrite)


@app.command(cls=Command)
def fetch(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Zarr store to write, or to continue.")],
    stac: Annotated[str, typer.Option(help="STAC API or static catalog: address, or path on disk.")],
    aoi: Annotated[Path, typer.Option(help="Area of interest: GeoJSON, shapefile, GeoPackage, in any CRS.")],
    first: Annotated[str, typer.Option("--from", help="First day: 2024-04-01.")],
    last: Annotated[str, typer.Option("--to", help="Last day: 2024-09-30.")],
    bands: options.Bands = None,
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

    options.check_folder("OUT", out)
    options.check_choice("--errors", errors, ("raise", "drop"))
    online = "://" in stac
    report = xsr.fetch(
        out,
        None if online else stac,
        url=stac if online else None,
        geometry=aoi,
        datetime=f"{first}/{last}",
        collection=collection,
        bands=options.names(bands),
        resolution=resolution,
        max_cloud=max_cloud,
        mask=mask,
        errors=errors,  # type: ignore[arg-type]
    )
    say(f"wrote {report.path}: {report.dates} dates, {report.fetched} of them new")
