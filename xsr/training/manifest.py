"""Manifests: a TOML file that says which images to train on, where they lie, and what their numbers mean.

Each table ``[[scene]]`` is one image, or a series of images, of one place; ``[default]`` holds what all of them share.
Relative paths start at ``root``, or at the folder of the manifest. Nothing is read here but the manifest itself; see
`xsr.training.reading` for the images. The keys are the fields of `Scene`.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from glob import glob
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from xsr.core.checks import is_number
from xsr.core.errors import ParameterError
from xsr.core.names import did_you_mean
from xsr.core.radiometry import UNITS
from xsr.sources.masks import SCL_INVALID

Split: TypeAlias = Literal["train", "validation", "test"]
Use: TypeAlias = Literal["image", "series", "thermal", "thermal_errors", "thermal_pairs", "reference", "optical"]
"""Single images of Sentinel-2, series of dates, temperatures, temperatures by which errors are measured, temperatures
of two sensors, images with a finer one of another sensor, or images of any optical sensor, whose bands have any
names."""
Format: TypeAlias = Literal["cube", "variable", "npy", "npz", "picture"]
"""``cube``: whatever `xsr.open` reads; ``variable``: a variable of a NetCDF file or Zarr store, or an array of a NumPy
archive, whatever its dimensions are called; ``picture``: PNG or another format of 8-bit images."""
Layout: TypeAlias = Literal["sen2venus", "worldstrat", "probav", "modis_aster"]
DIMS = ("time", "band", "y", "x")
KELVIN = "lst"
"""Name of a band of temperature."""
SUFFIXES: dict[str, Format] = {".npy": "npy", ".npz": "npz", ".png": "picture", ".jpg": "picture", ".bmp": "picture"}
"""Formats by the suffix of a file; all others are cubes."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One array in one or several files; several are dates, in order."""

    path: tuple[str, ...] = ()
    """Path, pattern such as ``images/*.tif`` (in the order of the names), or list of them."""
    format: Format | None = None
    """None: by the suffix, and ``variable`` where one is named."""
    variable: str = ""
    """Variable of a NetCDF file or Zarr store, or name of an array in a NumPy archive."""
    dims: tuple[str, ...] = ()
    """What the dimensions of the array are, in order, of `DIMS`; empty: as they are named, else the last of `DIMS`."""


@dataclass(frozen=True, kw_only=True)
class Source(File):
    """Bands in files, and what their numbers mean."""

    bands: tuple[str, ...] | Mapping[str, int | str] = ()
    """Names of the bands: those to take where the file names its bands, else all in their order; or each with its
    number (from 1) or its label in the file. Empty: as the file names them."""
    scale: float | None = None
    """Factor from stored numbers to reflectance or kelvin; None: as the file states."""
    offset: float = 0.0
    """Added after ``scale``."""
    nodata: float | None = None
    """Stored number that is no data; None: as the file states. Not a number always is."""
    units: str | None = None
    """Unit of the stored numbers, such as ``dn10000``, in place of ``scale`` and ``offset``; as of `xsr.liif`."""
    planck: tuple[float, float] | None = None
    """Thermal constants (K1, K2) by which radiance becomes brightness temperature."""


@dataclass(frozen=True, kw_only=True)
class Mask(File):
    """Classes of pixels, on the grid of the image or on one of pixels twice as large."""

    invalid: tuple[int, ...] = SCL_INVALID
    """Classes that hide the surface."""
    grow: int = 0
    """Pixels of the mask by which series hide more than that: borders of clouds are never sharp."""


@dataclass(frozen=True, kw_only=True)
class Reference(Source):
    """Finer image of the same extent by another sensor."""

    name: str = "fine"
    """Name of its pixel size; scenes are drawn at the sizes that all of them have."""


@dataclass(frozen=True, kw_only=True)
class Scene(Source):
    """An image of a place, or several of the same grid."""

    place: str
    """Name of the place; scenes of one place share it, and a split."""
    split: Split = "train"
    weight: float = 1.0
    """Relative weight of the place when scenes are drawn, shared by its scenes."""
    gsd_m: float = 10.0
    """Pixel size of the grid in metres."""
    native_m: Mapping[str, float] = field(default_factory=dict)
    """Native pixel size of bands in metres, where it is not the one of Sentinel-2's bands of these names."""
    coarse: Source | None = None
    """Bands of pixels twice as large; keys of `SHARED` that it does not give are those of the scene."""
    mask: Mask | None = None
    clear: float | None = None
    """Least share of clear pixels of an image that is used alone; without a mask, of pixels with data in all bands.
    None: 0.98 with a mask, any without."""
    frames: tuple[int, ...] = ()
    """Numbers (from 0) of the images to use; empty: all."""
    times: tuple[str, ...] = ()
    """Dates of the images, where the files do not state them."""
    begins: tuple[int, int] = (0, 0)
    """Row and column, each 0 or 1, at which pixels of twice the size really begin, where their file has them one pixel
    beside what they show."""
    separate_places: bool = False
    """Whether each image shows a place of its own."""
    resampled: str = ""
    """CRS of a grid to which the image was brought from the sensor's own by nearest neighbour, such as ``EPSG:4326``:
    its pixels are put back where they came from; see `xsr.native`."""
    align_to: str = ""
    """Band to which the others are aligned by whole pixels, as raw images of a push-broom sensor need."""
    mean: float | None = None
    """Mean reflectance to which each image is brought, for numbers without calibration."""
    average: int = 1
    """Pixels along each side that are averaged, for a product finer than its sensor resolves."""
    guide: Source | None = None
    """Reflectance beside a temperature, on its grid."""
    reference: tuple[Reference, ...] = ()
    pan: Reference | None = None
    """Panchromatic image; its grid becomes one more reference, made from the two finest of ``reference``."""
    align: bool = False
    """Whether the first reference is registered to the image and brought to its radiometry."""
    layout: Layout | None = None
    """Published data set that the folder ``path`` holds, in place of files; see `xsr.training.layouts`. Of
    ``modis_aster`` the path is a file; see `xsr.training.modis_aster`."""
    uses: tuple[Use, ...] = ()
    """What the scene is for; empty: ``reference`` with one, ``thermal`` of temperature, else ``image``, ``series``."""
    not_for: tuple[str, ...] = ()
    """Recipes that leave the scene out."""

    @property
    def roles(self) -> tuple[Use, ...]:
        """What the scene is for."""
        if self.uses:
            return self.uses
        if self.layout == "modis_aster":
            return ("thermal_errors", "thermal_pairs")
        if self.reference or self.layout is not None:
            return ("reference",)
        return ("thermal",) if KELVIN in self.bands else ("image", "series")

    @property
    def files(self) -> tuple[File, ...]:
        """Everything that is read of the scene."""
        parts = (self, self.coarse, self.mask, self.guide, *self.reference, self.pan)
        return tuple(part for part in parts if part is not None)


@dataclass(frozen=True)
class Manifest:
    """Scenes and the folder of their relative paths."""

    scenes: tuple[Scene, ...]
    root: Path
    path: Path | None = None
    """File of the manifest."""

    @property
    def identity(self) -> str:
        """Hash of what the manifest says of its scenes, wherever their folder lies."""
        return sha256(repr(self.scenes).encode()).hexdigest()

    def select(self, use: Use, *, split: Sequence[Split] = ("train",), recipe: str = "") -> tuple[Scene, ...]:
        """Scenes for a use, of some splits; those that a recipe leaves out are not among them.

        Raises
        ------
        ParameterError
            If a file of one is missing.
        """
        found = tuple(s for s in self.scenes if use in s.roles and s.split in split and recipe not in s.not_for)
        for scene in found:
            for file in scene.files:
                self.paths(file, scene.place)
        return found

    def paths(self, file: File, place: str) -> tuple[str, ...]:
        """Paths of a file, patterns replaced by what they match.

        Raises
        ------
        ParameterError
            If there is no such file.
        """
        return tuple(one for text in file.path for one in self._matches(text, place))

    def _matches(self, text: str, place: str) -> list[str]:
        if "://" in text:
            return [text]
        path = self.root / text
        matches = sorted(map(Path, glob(str(path)))) if any(c in text for c in "*?[") else []
        if not matches and not path.exists():
            raise ParameterError(
                f"scene {place!r}: {path} is missing; expected an image. Correct path, or root, in {self.path}."
            )
        return [str(one) for one in matches or [path]]


def read_manifest(path: str | Path, *, root: str | Path | None = None) -> Manifest:
    r"""Read and check a manifest.

    Parameters
    ----------
    path
        TOML file.
    root
        Folder of relative paths, in place of the manifest's own.

    Raises
    ------
    ParameterError
        If the file is missing or no TOML, a key or value is not known, or splits overlap; one fault at a time.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "scenes.toml")
    ...     _ = file.write_text('[[scene]]\nplace = "valley"\npath = "valley.tif"\nunits = "dn10000"')
    ...     read_manifest(file).scenes[0].roles
    ('image', 'series')
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows begin with a mark
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}); expected a manifest of scenes.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is not TOML: {error}. Correct it.") from error
    _check_keys(content, ("root", "default", "scene"), str(path))
    tables, default = content.get("scene", []), content.get("default", {})
    if not (isinstance(tables, list) and tables and all(isinstance(one, dict) for one in tables)):
        raise ParameterError(f"{path} has no scenes; expected a table [[scene]] for each.")
    if not isinstance(default, dict):
        raise ParameterError(f"{path}: default = {default!r}; expected a table of keys that all scenes share.")
    scenes = tuple(
        _scene(_over(default, table), f"{path}, scene {number}")
        for number, one in enumerate(tables, 1)
        for table in _expanded(one, f"{path}, scene {number}")
    )
    _check_splits(scenes, path)
    return Manifest(scenes, _root(path, root if root is not None else content.get("root", "")), path)


def _root(path: Path, given: Any) -> Path:
    """Folder of relative paths; variables of the environment in it are replaced."""
    text = os.path.expandvars(os.path.expanduser(str(given)))
    if "$" in text:
        raise ParameterError(f"{path}: root = {given!r} names a variable that is not set. Set it, or pass --data.")
    root = path.parent / text
    if not root.is_dir():
        raise ParameterError(f"{path}: root {root} is not a folder; expected the folder of the images.")
    return root


def _expanded(table: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Repeat a table for each word of ``each``, which takes the place of {} in its texts."""
    rest = {key: value for key, value in table.items() if key != "each"}
    if "each" not in table:
        yield rest
        return
    for word in _value("each", _texts, table["each"], where):
        yield {key: _filled(value, word) for key, value in rest.items()}


def _over(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a table over shared ones; its own unit replaces a shared scale and offset, and the other way round."""
    replaced = {"scale", "offset"} if "units" in own else {"units"} if {"scale", "offset"} & set(own) else set()
    return {**{key: value for key, value in shared.items() if key not in replaced}, **own}


def _filled(value: Any, word: str) -> Any:
    if isinstance(value, str):
        return value.replace("{}", word)
    if isinstance(value, list):
        return [_filled(one, word) for one in value]
    return {key: _filled(one, word) for key, one in value.items()} if isinstance(value, dict) else value


def _scene(table: Mapping[str, Any], where: str) -> Scene:
    where = f"{where} ({table['place']})" if isinstance(table.get("place"), str) else where
    scene = _typed(Scene, table, where)
    if scene.times and scene.frames:
        raise ParameterError(f"{where}: times and frames are both given; expected dates of the images that are used.")
    if scene.planck is not None and KELVIN not in scene.bands:
        raise ParameterError(f"{where}: planck makes temperatures; expected bands = ['{KELVIN}'].")
    return scene


Table = TypeVar("Table", bound=File)


def _typed(kind: type[Table], table: Any, where: str) -> Table:
    """Make of a table of the manifest what it stands for.

    Raises
    ------
    ParameterError
        If a key is not known or missing, or a value is not what its key expects.
    """
    if not isinstance(table, Mapping):
        raise ParameterError(f"{where} is {table!r}; expected a table of keys.")
    _check_keys(table, [one.name for one in fields(kind)], where)
    missing = [key for key in ("place", "path") if key not in table and key in {one.name for one in fields(kind)}]
    if missing:
        raise ParameterError(f"{where} lacks {missing[0]}; expected at least a place and a path. Add it.")
    if "units" in table and {"scale", "offset"} & set(table):
        raise ParameterError(f"{where} gives both units and a scale or offset; expected one of them. Leave one out.")
    if isinstance(table.get("coarse"), Mapping):
        shared = {key: table[key] for key in SHARED if key in table}
        table = {**table, "coarse": _over(shared, table["coarse"])}
    return kind(**{key: _of(key, value, where) for key, value in table.items()})


def _of(key: str, value: Any, where: str) -> Any:
    """Value of a key."""
    if key in PARTS:
        return _typed(PARTS[key], value, f"{where}, {key}")
    if key == "reference":
        several = value if isinstance(value, list) else [value]
        return tuple(_typed(Reference, one, f"{where}, reference") for one in several)
    return _value(key, CHECKS[key], value, where)


def _value(key: str, check: "Check", value: Any, where: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ParameterError(f"{where}: {key} = {value!r}; expected {error}.") from None


def _check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ParameterError(
                f"{where}: key {key!r} is not known{did_you_mean(key, known)}. Keys are {', '.join(sorted(known))}."
            )


def _check_splits(scenes: Sequence[Scene], path: Path) -> None:
    """Refuse a place or file in two splits: what judges must not have taught."""
    splits: dict[str, str] = {}
    for scene in scenes:
        names = [f"place {scene.place!r}", *(f"file {name} of scene {scene.place!r}" for name in scene.path)]
        for name, key in zip(names, [f"place {scene.place}", *scene.path], strict=True):
            other = splits.setdefault(key, scene.split)
            if other != scene.split:
                raise ParameterError(
                    f"{path}: {name} is in the splits {other} and {scene.split}; expected one. Correct split."
                )


Check: TypeAlias = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not (isinstance(value, str) and value):
        raise ValueError("a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    several = value if isinstance(value, list) else [value]
    if not (several and all(isinstance(one, str) and one for one in several)):
        raise ValueError("a text or a list of texts")
    return tuple(several)


def _bands(value: Any) -> tuple[str, ...] | dict[str, int | str]:
    if isinstance(value, dict) and all(isinstance(one, int | str) and one is not True for one in value.values()):
        return dict(value)
    names = _texts(value) if not isinstance(value, dict) else ()
    if not names or len(set(names)) < len(names):
        raise ValueError("a list of different names, or a table from names to numbers or labels in the file")
    return names


def _number(value: Any) -> float:
    if not is_number(value):
        raise ValueError("a number")
    return float(value)


def _positive(value: Any) -> float:
    if not (is_number(value) and value > 0):
        raise ValueError("a number above 0")
    return float(value)


def _share(value: Any) -> float:
    if not (is_number(value) and 0 <= value <= 1):
        raise ValueError("a share from 0 to 1")
    return float(value)


def _whole(value: Any) -> int:
    if not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        raise ValueError("a whole number, 0 or more")
    return value


def _wholes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError("a list of whole numbers")
    return tuple(map(_whole, value))


def _corner(value: Any) -> tuple[int, int]:
    numbers = _wholes(value)
    if len(numbers) != 2 or max(numbers) > 1:
        raise ValueError("two numbers, each 0 or 1")
    return numbers[0], numbers[1]


def _sides(value: Any) -> int:
    if _whole(value) < 1:
        raise ValueError("a whole number, 1 or more")
    return int(value)


def _sizes(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValueError("a table from names of bands to metres")
    return {name: _positive(size) for name, size in value.items()}


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _constants(value: Any) -> tuple[float, float]:
    if not (isinstance(value, list) and len(value) == 2):
        raise ValueError("two numbers, K1 and K2")
    first, second = map(_positive, value)
    return first, second


def _dates(value: Any) -> tuple[str, ...]:
    import numpy as np

    several = value if isinstance(value, list) else [value]
    try:
        return tuple(str(np.datetime64(str(one), "ns")) for one in several)
    except ValueError:
        raise ValueError("a list of dates such as 2024-06-15") from None


def _one_of(known: Sequence[str]) -> Check:
    def check(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}{did_you_mean(value, known)}")
        return str(value)

    return check


def _several_of(known: Sequence[str]) -> Check:
    def check(value: Any) -> tuple[str, ...]:
        return tuple(map(_one_of(known), _texts(value)))

    return check


SHARED = ("path", "format", "dims", "scale", "offset", "nodata", "units")
"""Keys that bands of larger pixels take over."""
PARTS: dict[str, type[File]] = {"coarse": Source, "mask": Mask, "guide": Source, "pan": Reference}
"""Keys whose value is a table."""
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("place", "variable", "resampled", "align_to", "name"), _text),
    **dict.fromkeys(("path", "not_for"), _texts),
    **dict.fromkeys(("scale", "weight", "gsd_m", "mean"), _positive),
    **dict.fromkeys(("offset", "nodata"), _number),
    **dict.fromkeys(("invalid", "frames"), _wholes),
    **dict.fromkeys(("separate_places", "align"), _flag),
    "bands": _bands,
    "format": _one_of(get_args(Format)),
    "layout": _one_of(get_args(Layout)),
    "split": _one_of(get_args(Split)),
    "uses": _several_of(get_args(Use)),
    "dims": _several_of(DIMS),
    "units": _one_of(tuple(UNITS)),
    "planck": _constants,
    "times": _dates,
    "native_m": _sizes,
    "begins": _corner,
    "clear": _share,
    "grow": _whole,
    "average": _sides,
}
"""What makes and checks the value of each key."""
