"""Inputs of the command: opened by `xsr.open`, with what the user says about their names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xsr.cli import options
from xsr.cli.words import OPENING
from xsr.core.errors import XsrError

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.sources.opening import Recognised
    from xsr.sources.registry import Source


@dataclass(frozen=True)
class Reading:
    """What the user says about the inputs."""

    band_names: str | None = None
    dims: Sequence[str] | None = None
    crs: str | None = None
    reader: Sequence[str] | None = None
    shared: bool = False
    """Whether it holds for several inputs, of which each need not have the labels, dims and options of the reader."""
    prefix: str = ""
    """How the names of the parameters begin that say this."""

    def open(self, path: str, *, bands: Sequence[str] | None = None) -> "XarrayObject":
        """Open an input.

        Parameters
        ----------
        path
            Path or URL of anything that `xsr.open` reads.
        bands
            Bands that will be used; a reader of products opens no others.

        Raises
        ------
        XsrError
            If it cannot be opened, or has no such names.
        """
        with self._noted():
            return self._opened(_recognised(path), path, bands)

    def open_each(
        self, paths: Sequence[str | None], *, bands: Sequence[str] | None = None
    ) -> "list[XarrayObject | None]":
        """Open several inputs for which it holds, each with the options that its reader takes; None stays.

        Raises
        ------
        OptionError
            If no reader takes an option.
        XsrError
            As `open`.
        """
        with self._noted():
            found = [None if path is None else _recognised(path) for path in paths]
            sources = [one.source for one in found if one is not None]
            odd = [name for name in self._given() if not any(source.takes(name) for source in sources)]
            if odd:
                raise options.OptionError(f"{self._flag('open')} {odd[0]}; no input has such an option. Leave it out.")
            pairs = zip(paths, found, strict=True)
            return [None if one is None else self._opened(one, str(path), bands) for path, one in pairs]

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Note on errors that their arguments are those of the reader."""
        try:
            yield
        except XsrError as error:
            error.add_note(OPENING + self.prefix)
            raise

    def _opened(self, found: "Recognised", path: str, bands: Sequence[str] | None) -> "XarrayObject":
        """Cube with the names that the user gives."""
        from xsr.sources.labels import adapt, labels, name_in_order

        named = options.band_names(self.band_names, self._flag("band-names"))
        cube = found.open(**self._options(found.source, bands, named))
        if self.shared:
            cube = self._adapted(cube, path)
        if named is None or (isinstance(named, dict) and _by_file(found.source)):
            return cube
        if self.shared and set(named) <= set(labels(cube)):  # the names themselves, as results have them
            return cube
        mapping = named if isinstance(named, dict) else name_in_order(cube, named, label=path)
        return adapt(cube, bands=mapping, label=path)

    def _adapted(self, cube: "XarrayObject", path: str) -> "XarrayObject":
        """One of several cubes, with the dims that it has, and the CRS if it states none."""
        from xsr.sources.labels import adapt

        dims = {old: new for old, new in self._dims().items() if old in cube.dims}
        return adapt(cube, dims=dims, crs=self.crs if cube.odc.crs is None else None, label=path)

    def _options(
        self, source: "Source", bands: Sequence[str] | None, named: list[str] | dict[str, str] | None
    ) -> dict[str, Any]:
        """Options of the reader."""
        found = self._given()
        if self.shared:
            found = {name: value for name, value in found.items() if source.takes(name)}
        else:
            found |= {"dims": self._dims()} if self.dims else {}
            found |= {"crs": self.crs} if self.crs is not None else {}
        if isinstance(named, dict) and _by_file(source):
            found["bands"] = named
        elif bands is not None and named is None and source.by_band:
            found["bands"] = bands
        return found

    def _given(self) -> dict[str, Any]:
        return options.reader_options(self.reader, self._flag("open"))

    def _dims(self) -> dict[str, str]:
        return options.pairs(self._flag("dim"), self.dims or (), "t=time")

    def _flag(self, name: str) -> str:
        """Option of the command for this input."""
        return f"--{self.prefix.replace('_', '-')}{name}"


def _recognised(path: str) -> "Recognised":
    from xsr.sources.opening import recognise

    return recognise(path)


def _by_file(source: "Source") -> bool:
    """Whether names of bands go with files, which must be chosen before they are opened."""
    from xsr.sources.registry import BANDS

    return source is BANDS
