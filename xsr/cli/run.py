"""Commands that write a store: run, sharpen, native, degrade, guided, fetch; and verify, which mends one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xsr.cli import options
from xsr.cli.base import Command, app
from xsr.cli.build import Request
from xsr.cli.inputs import Reading
from xsr.cli.output import name_of, prepare, write
from xsr.cli.terminal import say, say_lines
from xsr.core.redact import public

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.operations.degrade import Noise


@app.command(cls=Command)
def run(  # what decides the result is read from the context, see `Request.parse`
    ctx: typer.Context,
    source: options.In,
    out: options.Out,
    scale: options.Scale = None,
    resolution: options.Resolution = None,
    like: options.Like = None,
    t: options.Times = None,
    frames: options.Frames = None,
    window: options.Window = None,
    extrapolate: options.Extrapolate = None,
    fill: options.Fill = None,
    temporal: options.Temporal = None,
    model: options.Model = None,
    weights: options.Weights = None,
    bands: options.Bands = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    bbox: options.Bbox = None,
    units: options.Units = None,
    chunks: options.Chunks = None,
    dtype: options.Dtype = None,
    allow_clipping: options.AllowClipping = False,
    zarr_format: options.ZarrFormat = None,
    overviews: options.Overviews = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    append_dim: options.AppendDim = None,
    region: options.Part = None,
    group: options.Group = None,
    compute: options.Compute = True,
    input_id: options.InputId = None,
    errors: options.OnFailure = "quarantine",
    force: options.Force = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    psf: options.Sharpness = None,
    consistent: options.Consistent = None,
    quantiles: options.Quantiles = None,
    sharpen: options.Presharpen = None,
    mtf: options.MtfByBand = None,
    noise: options.NoiseByBand = None,
    stac: options.Stac = False,
    workers: options.Workers = None,
) -> None:
    """Super-resolve (or interpolate) IN and write a Zarr store OUT.

    Exit code 1 if a block could not be computed; --resume tries such blocks again.
    """
    part = None if region is None else options.region(region)
    if dtype is None and append_dim is None and part is None:
        dtype = "float32"
    options.check_choice("--dtype", dtype or "float32", ("float32", "uint16"))
    options.check_choice("--zarr-format", str(zarr_format or 2), ("3", "2"))
    options.check_choice("--errors", errors, ("quarantine", "raise"))
    request = Request.parse(ctx.params)
    request.check()
    prepare(out, workers, IN=source)
    packing = {"dtype": dtype, "allow_clipping": allow_clipping, "zarr_format": zarr_format, "overviews": overviews}
    where = {"append_dim": append_dim, "region": part, "group": group, "compute": compute}
    how = {"input_id": input_id, "errors": errors, "force": force, "stac": stac, **packing, **where}
    write(request.build(), out, resume=resume, overwrite=overwrite, **how)


@app.command(cls=Command)
def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="Zarr store written by xsr.")],
    repair: Annotated[bool, typer.Option("--repair", help="Compute bad blocks again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --repair: open what STORE names without asking.")] = False,
    input_id: options.InputId = None,
    force: options.Force = False,
    allow_clipping: options.AllowClipping = False,
    group: options.Group = None,
    workers: options.Workers = None,
) -> None:
    """Read every block of STORE, compare it with the checksum of what was written, and list the bad ones.

    Exit code 1 if a block is bad or missing. What xsr run wrote can be repaired from its input, which STORE names.
    """
    import xsr

    how: dict[str, Any] = {"group": group, "input_id": input_id, "force": force, "allow_clipping": allow_clipping}
    cubes = _rebuild(store, group, yes=yes, workers=workers) if repair else [None]
    *_, report = reports = [xsr.verify(store, repair=cube, **how) for cube in cubes]
    for bad in (bad for one in reports for bad in one.repaired):
        say(f"repaired {bad}")
    for bad in report.bad:
        say(f"bad {bad}")
    state = "complete" if report.complete else "not complete: xsr run --resume, or xsr fetch, goes on with it"
    say(f"{report.path}: {report.blocks} blocks, {len(report.bad)} bad, {state}")
    if not report.ok:
        raise typer.Exit(1)


def _rebuild(store: str, group: str | None, *, yes: bool, workers: int | None) -> "list[XarrayObject]":
    """Build what a store was written from, as it says; whoever uses the command agrees to what is opened."""
    from xsr.operations.verify import commands_of

    options.share_cores(workers)
    requests = [Request.recall(command, store) for command in commands_of(store, group=group)]
    if not yes:
        _agree(store, [request.opens() for request in requests])
    return [request.build() for request in requests]


def _agree(store: str, opened: list[dict[str, str]]) -> None:
    """Ask before what a store names is opened."""
    if not sys.stdin.isatty():
        named = ", ".join(f"{name} {what!r}" for one in opened for name, what in one.items())
        raise options.OptionError(
            f"{store} names what --repair would open: {named}; without a terminal to ask at, expected --yes."
        )
    say(f"To repair {store}, xsr opens what the store names:")
    for one in opened:
        say_lines(one)
    typer.confirm("Open it?", abort=True)


@app.command(cls=Command)
def sharpen(
    source: options.In,
    out: options.Out,
    to: Annotated[
        float | None,
        typer.Option(help="Pixel size in units of the CRS, finer than the sharpest bands; theirs by default."),
    ] = None,
    model: Annotated[str, typer.Option(help="Weights: a name, or a path.")] = "sharpen_s2",
    bands: options.Bands = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    units: options.Units = None,
    chunks: options.Chunks = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    quantiles: options.Quantiles = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    workers: options.Workers = None,
) -> None:
    """Write to OUT all bands of IN on the grid of the sharpest: those of 20 m and 60 m at 10 m."""
    import xsr

    prepare(out, workers, IN=source)
    kept = options.names(bands)
    fine = xsr.sharpen(
        Reading(band_names, dims, crs, reader).open(source, bands=kept),
        to=to,
        model=model,
        bands=kept,
        units=units,
        device=device,
        precision=precision,  # type: ignore[arg-type]
        quantiles=None if quantiles is None else options.numbers(quantiles),
        chunks=chunks,
    )
    fine.attrs["xsr_input"] = name_of(source)
    write(fine, out, resume=resume, overwrite=overwrite)


@app.command(cls=Command)
def native(
    source: options.In,
    out: options.Out,
    crs: options.Zone = None,
    gsd: options.Gsd = None,
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

    prepare(out, workers, IN=source)
    kept = options.names(bands)
    cube = Reading(band_names, dims, None, reader).open(source, bands=kept)
    found = xsr.native(cube, crs=crs, gsd=gsd, bands=kept, units=units, chunks=chunks)
    found.attrs["xsr_input"] = name_of(source)
    write(found, out, resume=resume, overwrite=overwrite)
    say(f"zone {found.attrs['xsr_native_crs']}, {found.attrs['xsr_native_reproduced']:.2%} of the sample reproduced")


@app.command(cls=Command)
def degrade(
    source: options.In,
    out: options.Out,
    scale: options.Factor,
    mtf: options.Mtf = None,
    psf: options.Psf = "gaussian",
    sensor: options.Sensor = None,
    noise: options.Noise = None,
    seed: options.Seed = 0,
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

    prepare(out, workers, IN=source)
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
    low.attrs["xsr_input"] = Path(source).name if "://" not in source else public(source)
    write(low, out, resume=resume, overwrite=overwrite)


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
    target: options.Target,
    guide: options.Guide,
    out: options.Out,
    model: options.GuidedModel = None,
    method: options.GuidedMethod = None,
    scale: options.GuidedScale = None,
    resolution: options.Resolution = None,
    like: options.Like = None,
    conserve: options.Conserve = None,
    mtf: options.ConserveMtf = None,
    coregister: options.Coregister = False,
    tolerance: options.Tolerance = 16.0,
    units: options.Kelvin = None,
    band_names: options.BandNames = None,
    dims: options.Dims = None,
    crs: options.Crs = None,
    reader: options.Reader = None,
    guide_units: options.GuideUnits = None,
    guide_sensor: options.GuideSensor = "sentinel-2",
    guide_bands: options.GuideBands = None,
    guide_band_names: options.GuideBandNames = None,
    guide_dims: options.GuideDims = None,
    guide_crs: options.GuideCrs = None,
    guide_reader: options.GuideReader = None,
    chunks: options.Chunks = None,
    device: options.Device = "auto",
    quantiles: options.Quantiles = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    workers: options.Workers = None,
) -> None:
    """Sharpen the temperature TARGET by the optical image GUIDE and write a Zarr store OUT.

    --band-names, --dim, --crs and --open say how TARGET is opened, those that begin with --guide- how GUIDE is.
    """
    import xsr

    prepare(out, workers, TARGET=target, GUIDE=guide)
    used = options.names(guide_bands)
    second = Reading(guide_band_names, guide_dims, guide_crs, guide_reader, prefix="guide_")
    fine = xsr.guided(
        Reading(band_names, dims, crs, reader).open(target),
        second.open(guide, bands=used),
        scale=scale,
        resolution=resolution,
        like=None if like is None else Reading().open(like),
        model=model,
        method=method,  # type: ignore[arg-type]
        conserve=conserve,  # type: ignore[arg-type]
        mtf=mtf,
        coregister=coregister,
        tolerance=tolerance,
        units=units,
        guide_bands=used,
        guide_units=guide_units,
        guide_sensor=guide_sensor,
        quantiles=None if quantiles is None else options.numbers(quantiles),
        device=device,
        chunks=chunks,
    )
    fine.attrs["xsr_input"] = name_of(target)
    write(fine, out, resume=resume, overwrite=overwrite)


@app.command(cls=Command)
def fetch(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Zarr store to write, or to continue: folder or URL.")],
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
    trust: Annotated[bool, typer.Option("--trust", help="Let the addresses of the catalogue lead anywhere.")] = False,
    reprocessed: Annotated[
        str, typer.Option(help="About items processed again since they were fetched: keep, or replace their dates.")
    ] = "keep",
    repair: Annotated[bool, typer.Option("--repair", help="Check all blocks first, load bad ones again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Take over the lock of another writer.")] = False,
) -> None:
    """Download a STAC search to OUT, date by date; run it again to continue, or to add dates."""
    import xsr

    options.check_folder("OUT", out)
    options.check_choice("--errors", errors, ("raise", "drop"))
    options.check_choice("--reprocessed", reprocessed, ("keep", "replace"))
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
        trust=trust,
        reprocessed=reprocessed,  # type: ignore[arg-type]
        repair=repair,
        force=force,
    )
    say(f"wrote {report.path}: {report.dates} dates, {report.fetched} of them new")
    for name in report.added:
        say(f"  {name} came later and was added to its date")
    if report.quarantined:
        say(f"{len(report.quarantined)} blocks could not be read; fetch tries them again:")
        for bad in report.quarantined:
            say(f"  {bad}")
        raise typer.Exit(1)
