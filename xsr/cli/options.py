"""Options that several commands share, and how their text is read."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from xsr.core.errors import ParameterError


class OptionError(ParameterError):
    """An option of the command, in its words already."""


ANY_CUBE = "Product, STAC file, Zarr store, NetCDF file, GeoTIFF or folder of band files"

# An input, and how it is opened: what `xsr.cli.inputs.Reading` takes.
In: TypeAlias = Annotated[str, typer.Argument(metavar="IN", help=f"{ANY_CUBE}; path or URL.")]
Out: TypeAlias = Annotated[str, typer.Argument(metavar="OUT", help="Zarr store to write.")]
Bands: TypeAlias = Annotated[str | None, typer.Option(help="Bands to keep: B02,B03,B04.")]
BandNames: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Names of bands, each with its label or number in the file: B02=nbart_blue,B03=2; or of all, in order:"
        " B02,B03,B04,B08."
    ),
]
Dims: TypeAlias = Annotated[
    list[str] | None, typer.Option("--dim", metavar="NAME=DIM", help="What a dim of the file is: t=time. Repeatable.")
]
Crs: TypeAlias = Annotated[str | None, typer.Option(help="CRS of a file that states none: EPSG:32633.")]
Reader: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--open", metavar="NAME=VALUE", help="Option of the reader: mask=true, offset=0. Repeatable."),
]
Units: TypeAlias = Annotated[str | None, typer.Option(help="reflectance, percent, dn10000, dn10000-1000 or a factor.")]

# The grid of the result, and its dates.
Scale: TypeAlias = Annotated[float | None, typer.Option(help="Linear factor, any number >= 1.")]
Resolution: TypeAlias = Annotated[
    float | None, typer.Option(help="Pixel size in units of the CRS, instead of --scale.")
]
Like: TypeAlias = Annotated[str | None, typer.Option(help="File whose grid to use, instead of --scale.")]
Bbox: TypeAlias = Annotated[str | None, typer.Option(help="left,bottom,right,top in the CRS of the cube.")]
Times: TypeAlias = Annotated[
    str | None, typer.Option("--t", help="Target times: 2024-06-15, several with commas, or a frequency such as 10D.")
]
Frames: TypeAlias = Annotated[int | None, typer.Option(help="With --t: clear dates that make a pixel.")]
Window: TypeAlias = Annotated[float | None, typer.Option(help="With --t: days beyond which a date is not used.")]
Extrapolate: TypeAlias = Annotated[
    float | None, typer.Option(help="With --t: days by which a target time may lie outside the series.")
]
Fill: TypeAlias = Annotated[
    bool | None, typer.Option("--fill/--no-fill", help="With --t: fill gaps of a date from the others first.")
]
Temporal: TypeAlias = Annotated[
    str | None, typer.Option(help="With --t and an interpolation method: linear, nearest or mean.")
]

# Models, and where they compute.
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Model by name or path (.safetensors, .yaml), architecture, or interpolation method; liif_s2 by default,"
        " temporal_liif_s2 with --t."
    ),
]
Weights: TypeAlias = Annotated[str | None, typer.Option(help="Weight file, where --model is an architecture.")]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision: TypeAlias = Annotated[
    str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is fast and safe.")
]
Sharpness: TypeAlias = Annotated[
    str | None, typer.Option(help="Sharpness of the result: sensor, ideal, or an MTF; the model's by default.")
]
Consistent: TypeAlias = Annotated[
    bool | None, typer.Option("--consistent", help="The result, observed again, is to be the input.")
]
Quantiles: TypeAlias = Annotated[
    str | None, typer.Option(help="Such as 0.05,0.5,0.95, for a dimension of quantiles; 0.5 is the estimate.")
]
Presharpen: TypeAlias = Annotated[
    bool | None,
    typer.Option(help="Whether bands of larger pixels are sharpened before the network; they are where it says so."),
]
MtfByBand: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Of a model of any optical sensor: MTF of IN at Nyquist, 0.25, or by band: red=0.25,nir=0.2."),
]
NoiseByBand: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Of a model of any optical sensor: standard deviation of IN's noise, 0.002, or by band."),
]
Chunks: TypeAlias = Annotated[int | None, typer.Option(help="Side of an output block in pixels.")]
Workers: TypeAlias = Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")]

# The store.
Dtype: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="float32, the default; uint16: reflectance or temperature, packed. A store that grows keeps its."
    ),
]
AllowClipping: TypeAlias = Annotated[
    bool, typer.Option("--allow-clipping", help="Pack blocks of which over 1 % lies outside the range of uint16.")
]
ZarrFormat: TypeAlias = Annotated[
    int | None,
    typer.Option(help="2, which GDAL, QGIS and rasterio open, or 3, for GDAL from 3.13 on.", show_default="2"),
]
Overviews: TypeAlias = Annotated[
    bool, typer.Option("--overviews", help="Also write levels of half the resolution of the one before, for maps.")
]
OnFailure: TypeAlias = Annotated[
    str,
    typer.Option("--errors", help="quarantine: set blocks that fail aside and go on; raise: end at the first."),
]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with a store that was interrupted.")]
AppendDim: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="DIM", help="Append the result along this dimension, time for instance, or begin the store."),
]
Part: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="auto|DIM=A:B,...",
        help="Write the result to a part of a store: pixels y=0:256,x=256:512; auto finds it by its coordinates.",
    ),
]
Group: TypeAlias = Annotated[str | None, typer.Option(help="Group of the store: tile/fine.")]
Compute: TypeAlias = Annotated[
    bool,
    typer.Option("--compute/--no-compute", help="Without: metadata and coordinates only, for --region to fill."),
]
InputId: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Name of the state of IN, instead of the content of its files; later: they are the same."),
]
Stac: TypeAlias = Annotated[bool, typer.Option("--stac", help="Write a STAC item of OUT beside it, and of its model.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Skip the checks of lock and free space.")]

# What a sensor observes.
Mtf: TypeAlias = Annotated[float | None, typer.Option(help="MTF at Nyquist; by default that of the sensor's bands.")]
Psf: TypeAlias = Annotated[str, typer.Option(help="gaussian, detector or effective.")]
PsfOfLow: TypeAlias = Annotated[
    str | None, typer.Option(help="gaussian, detector or effective; by default that by which --low was made.")
]
Sensor: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Sensor whose table names MTF and noise; by default that of the band names, else sentinel-2."),
]
Factor: TypeAlias = Annotated[float, typer.Option(help="Linear factor between the pixel sizes, any number >= 1.")]
Noise: TypeAlias = Annotated[str | None, typer.Option(help="Standard deviation in reflectance, or sensor.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Seed of the noise.")]
Zone: TypeAlias = Annotated[
    str | None, typer.Option(help="UTM zone of the sensor's pixels, EPSG:32631; found by default.")
]
Gsd: TypeAlias = Annotated[float | None, typer.Option(help="Pixel size of the sensor in metres; found by default.")]

# A temperature and its guide.
Target: TypeAlias = Annotated[str, typer.Argument(metavar="TARGET", help=f"Temperature. {ANY_CUBE}.")]
Guide: TypeAlias = Annotated[str, typer.Argument(metavar="GUIDE", help="Reflectance of finer pixels, likewise.")]
GuidedModel: TypeAlias = Annotated[
    str | None, typer.Option(help="Guided network by name or path; a packaged one by default.")
]
GuidedMethod: TypeAlias = Annotated[
    str | None, typer.Option(help="Instead of a network: guided_filter, tsharp, bicubic or bilinear.")
]
GuidedScale: TypeAlias = Annotated[float | None, typer.Option(help="Linear factor; by default the guide's grid.")]
Conserve: TypeAlias = Annotated[
    str | None, typer.Option(help="Means over TARGET's pixels to hold: radiance or temperature.")
]
ConserveMtf: TypeAlias = Annotated[
    float | None, typer.Option(help="With --conserve: MTF of TARGET's sensor, which then weighs the means.")
]
Coregister: TypeAlias = Annotated[bool, typer.Option("--coregister", help="Register the guide to TARGET first.")]
Tolerance: TypeAlias = Annotated[float, typer.Option(help="Days by which the dates of both may differ.")]
Kelvin: TypeAlias = Annotated[
    str | None, typer.Option(help="Of TARGET: K, degC, landsat-c2-st, modis-lst or ecostress-lst.")
]
GuideUnits: TypeAlias = Annotated[
    str | None, typer.Option(help="Of GUIDE: reflectance, percent, dn10000, dn10000-1000 or a factor.")
]
GuideSensor: TypeAlias = Annotated[str, typer.Option(help="Sensor whose band names GUIDE uses.")]
GuideBands: TypeAlias = Annotated[str | None, typer.Option(help="Bands of GUIDE to use: B04,B08.")]
GuideBandNames: TypeAlias = Annotated[str | None, typer.Option(help="--band-names of GUIDE.")]
GuideDims: TypeAlias = Annotated[
    list[str] | None, typer.Option("--guide-dim", metavar="NAME=DIM", help="--dim of GUIDE.")
]
GuideCrs: TypeAlias = Annotated[str | None, typer.Option(help="--crs of GUIDE.")]
GuideReader: TypeAlias = Annotated[
    list[str] | None, typer.Option("--guide-open", metavar="NAME=VALUE", help="--open of GUIDE.")
]


def names(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def band_names(text: str | None, option: str = "--band-names") -> list[str] | dict[str, str] | None:
    """Names of bands in order, or each with its label.

    Raises
    ------
    OptionError
        If some have a label and others not, or one is named twice.
    """
    found = names(text)
    if found is None or not any("=" in one for one in found):
        return found
    return pairs(option, found, "B02=nbart_blue")


def pairs(option: str, given: Sequence[str], example: str) -> dict[str, str]:
    """``NAME=VALUE`` by name.

    Raises
    ------
    OptionError
        If one has no value, or a name comes twice.
    """
    found: dict[str, str] = {}
    for one in given:
        name, sign, value = (part.strip() for part in one.partition("="))
        if not (name and sign and value):
            raise OptionError(f"{option} {one!r}; expected a name and a value, such as {example}.")
        if name in found:
            raise OptionError(f"{option} names {name!r} twice; expected each once.")
        found[name] = value
    return found


def reader_options(given: Sequence[str] | None, option: str = "--open") -> dict[str, Any]:
    """Options of a reader by name: numbers, true and false, lists with commas, or text."""
    return {name: _value(text) for name, text in pairs(option, given or (), "offset=0").items()}


def _value(text: str) -> Any:
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def number_or_word(given: str) -> float | str:
    """Read an option that is a number or a word."""
    try:
        return float(given)
    except ValueError:
        return given


def by_band(flag: str, text: str) -> float | dict[str, float]:
    """Read a number for all bands, or numbers by band: ``0.25`` or ``red=0.25,nir=0.2``.

    Raises
    ------
    OptionError
        If the text is neither.
    """
    parts = [part.partition("=") for part in text.split(",")]
    try:
        if "=" not in text:
            return float(text)
        found = {name.strip(): float(value) for name, _, value in parts}
    except ValueError:
        found = {}
    if len(found) != len(parts) or "" in found:
        raise OptionError(f"{flag} {text!r}; expected a number, or one for each band: red=0.25,nir=0.2.")
    return found


def numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas.

    Raises
    ------
    OptionError
        If one is none.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--quantiles {text!r}; expected numbers with commas between: 0.05,0.5,0.95.") from None


def bbox(text: str) -> tuple[float, float, float, float]:
    """Left, bottom, right and top.

    Raises
    ------
    OptionError
        If they are not four numbers.
    """
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--bbox {text!r}; expected four numbers: left,bottom,right,top.") from None
    return left, bottom, right, top


def region(text: str) -> dict[Any, slice] | Literal["auto"]:
    """Part of a store: pixels from the first to the one after the last, by dimension, or ``auto``.

    Raises
    ------
    OptionError
        If they are no pairs of whole numbers.

    Examples
    --------
    >>> region("y=0:256,x=256:")
    {'y': slice(0, 256, None), 'x': slice(256, None, None)}
    """
    if text.strip() == "auto":
        return "auto"
    found: dict[Any, slice] = {}
    for dim, span in pairs("--region", names(text) or [""], "y=0:256").items():
        ends = [end.strip() for end in span.split(":")]
        if len(ends) != 2 or not all(end == "" or end.isdecimal() for end in ends):
            raise OptionError(f"--region {dim}={span}; expected auto, or pixels such as {dim}=0:256.")
        found[dim] = slice(*(int(end) if end else None for end in ends))
    return found


def check_choice(option: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is not among the known ones.

    Raises
    ------
    OptionError
        With the nearest one, if there is any.
    """
    if value not in known:
        near = get_close_matches(value, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Give {option} {known[0]}."
        raise OptionError(f"{option} {value}; expected one of {', '.join(known)}. {hint}")


def check_folder(option: str, path: str | Path) -> None:
    """Refuse a place whose folder is not there and cannot be made, before anything is computed.

    Raises
    ------
    OptionError
        If a file stands where a folder should, or it cannot be written to.
    """
    if "://" in str(path):
        return
    folder = Path(path).absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OptionError(f"{option} {path}; {folder} is no folder that can be written to. Choose another path.")


def absolute(source: str) -> str:
    """Path that is found from any folder; URLs and paths inside archives stay."""
    return source if "://" in source or source.startswith("/vsi") else str(Path(source).resolve())


def check_apart(out: str, **inputs: str) -> None:
    """Refuse to write over an input.

    Raises
    ------
    OptionError
        If OUT is one of them.
    """
    for name, source in inputs.items():
        if absolute(source) == absolute(out):
            raise OptionError(f"OUT is {name} ({source}); expected another path.")


def share_cores(workers: int | None) -> None:
    """Give Dask ``workers`` threads and PyTorch the cores that are left to each, so that pools do not fight."""
    import dask
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = cores if workers is None else workers
    if count < 1:
        raise OptionError(f"--workers {count}; expected at least 1.")
    dask.config.set(num_workers=count)
    torch.set_num_threads(max(1, cores // count))
