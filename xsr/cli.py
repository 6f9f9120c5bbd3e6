"""The ``xsr`` command: as thin as the accessor."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xsr._version import __version__
from xsr.core.errors import ParameterError, XsrError

if TYPE_CHECKING:
    from xsr.operations.degrade import Noise

app = typer.Typer(help="Super-resolve Earth-observation data cubes.", no_args_is_help=True, add_completion=False)
models_app = typer.Typer(help="Models that come with xsr.", no_args_is_help=True)
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
    model: Annotated[str, typer.Option(help="Model by name or path, or an interpolation method.")] = "liif_s2",
    bands: Annotated[str | None, typer.Option(help="Bands to keep: B02,B03,B04.")] = None,
    bbox: Annotated[str | None, typer.Option(help="left,bottom,right,top in the CRS of the cube.")] = None,
    units: Annotated[str | None, typer.Option(help="reflectance, percent, dn10000, dn10000-1000 or a factor.")] = None,
    chunks: Annotated[int | None, typer.Option(help="Side of an output block in pixels.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or uint16.")] = "float32",
    zarr_format: Annotated[int, typer.Option(help="3, or 2 for GDAL before 3.12.")] = 3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")] = None,
) -> None:
    """Super-resolve (or interpolate) IN and write a new Zarr store OUT."""
    import xsr
    from xsr.kernels.resample import METHODS
    from xsr.sources.files import crop, open_file

    if Path(source).resolve() == Path(out).resolve():
        raise ParameterError(f"OUT is IN ({source}); expected another path.")
    _share_cores(workers)
    cube = open_file(source)
    if bbox is not None:
        cube = crop(cube, _bbox(bbox))
    target = {"scale": scale, "resolution": resolution, "chunks": chunks, "units": units, "bands": _names(bands)}
    if model in METHODS:
        fine = xsr.interpolate(cube, method=model, **target)  # type: ignore[arg-type]
    else:
        fine = xsr.liif(cube, model=model, device=device, **target)  # type: ignore[arg-type]
    fine.attrs["xsr_input"] = source.rstrip("/").rsplit("/", 1)[-1]
    report = xsr.to_zarr(fine, out, overwrite=overwrite, dtype=dtype, zarr_format=zarr_format)  # type: ignore[arg-type]
    console.print(
        f"wrote {report.path}: {dict(fine.sizes)}, {report.blocks} blocks, {report.valid} valid pixels,"
        f" {report.clipped} clipped",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


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


def _noise(text: str | None) -> "Noise":
    if text is None or text == "sensor":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f"--noise {text!r}; expected a standard deviation in reflectance, or 'sensor'.") from None


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
        float | None, typer.Option(help="MTF of the low-resolution sensor; by default Sentinel-2's.")
    ] = None,
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
    if (strata is not None or opensr) and reference is None:
        raise ParameterError("--strata and --opensr compare with REF, which is not given.")
    if opensr and low is None:
        raise ParameterError("--opensr compares with LOW; expected --low.")
    _share_cores(workers)
    cube, truth, coarse = (None if name is None else open_file(name) for name in (sr, reference, low))
    assert cube is not None
    common = {"bands": _names(bands), "units": units}
    tables = {"scores": xsr.evaluate(cube, truth, low=coarse, data_range=data_range, mtf=mtf, border=border, **common)}  # type: ignore[arg-type]
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
    """List the models that come with xsr."""
    from xsr.models import registry

    table = Table("model", "architecture", "parameters", "bands", "scales", "licence")
    for name in registry.names():
        card = registry.describe(name)
        low, high = card.scale_range
        count = f"{card.parameters:,}".replace(",", " ")
        table.add_row(name, card.architecture, count, " ".join(card.bands), f"{low:g}-{high:g}", card.licence)
    console.print(table)


@models_app.command("show")
def models_show(name: Annotated[str, typer.Argument(help="Model by name or path.")]) -> None:
    """Print the card of a model."""
    from dataclasses import asdict

    from xsr.models import registry

    console.print_json(data=asdict(registry.describe(name)))


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
    report = _Report()
    real = None if synthetic_only else root
    card = run_recipe(recipes.get(recipe), path, data=real, minutes=minutes, device=device, report=report)
    if root is not None:
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
