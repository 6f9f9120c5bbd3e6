"""Options that several commands share, and how their text is read."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from xsr.core.errors import ParameterError


class OptionError(ParameterError):
    """An option of the command, in its words already."""


ANY_CUBE = "Product, STAC file, Zarr store, NetCDF file, GeoTIFF or folder of band files"

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
Chunks: TypeAlias = Annotated[int | None, typer.Option(help="Side of an output block in pixels.")]
Scale: TypeAlias = Annotated[float | None, typer.Option(help="Linear factor, any number >= 1.")]
Resolution: TypeAlias = Annotated[
    float | None, typer.Option(help="Pixel size in units of the CRS, instead of --scale.")
]
Device: TypeAlias = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Overwrite: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with a store that was interrupted.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Skip the stale-lock and free-space checks.")]
Workers: TypeAlias = Annotated[int | None, typer.Option(help="Blocks computed side by side; all cores by default.")]
Mtf: TypeAlias = Annotated[float | None, typer.Option(help="MTF at Nyquist; by default that of the sensor's bands.")]
Sensor: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Sensor whose table names MTF and noise; by default that of the band names, else sentinel-2."),
]
Psf: TypeAlias = Annotated[str, typer.Option(help="gaussian, detector or effective.")]


def names(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def band_names(text: str | None) -> list[str] | dict[str, str] | None:
    """Names of bands in order, or each with its label.

    Raises
    ------
    OptionError
        If some have a label and others not, or one is named twice.
    """
    found = names(text)
    if found is None or not any("=" in one for one in found):
        return found
    return pairs("--band-names", found, "B02=nbart_blue")


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


def reader_options(given: Sequence[str] | None) -> dict[str, Any]:
    """Options of a reader by name: numbers, true and false, lists with commas, or text."""
    return {name: _value(text) for name, text in pairs("--open", given or (), "offset=0").items()}


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
