"""Inputs of the command: opened by `xsr.open`, with what the user says about their names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xsr.cli import options
from xsr.cli.words import OPENING
from xsr.core.errors import XsrError

if TYPE_CHECKING:
    from xsr.core.types import XarrayObject
    from xsr.sources.registry import Source


@dataclass(frozen=True)
class Reading:
    """What the user says about the inputs."""

    band_names: str | None = None
    dims: Sequence[str] | None = None
    crs: str | None = None
    reader: Sequence[str] | None = None
    shared: bool = False
    """Whether it holds for several inputs, of which each need not have the labels and dims."""

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
        try:
            return self._open(path, bands)
        except XsrError as error:
            error.add_note(OPENING)
            raise

    def _open(self, path: str, bands: Sequence[str] | None) -> "XarrayObject":
        from xsr.sources.labels import adapt, labels, name_in_order
        from xsr.sources.opening import recognise

        found = recognise(path)
        source, named = found.source, options.band_names(self.band_names)
        cube = found.open(**self._options(source, bands, named))
        if self.shared and self.dims:
            dims = options.pairs("--dim", self.dims, "t=time")
            cube = adapt(cube, dims={old: new for old, new in dims.items() if old in cube.dims}, label=path)
        if named is None or (isinstance(named, dict) and _by_file(source)):
            return cube
        if self.shared and set(named) <= set(labels(cube)):  # the names themselves, as results have them
            return cube
        mapping = named if isinstance(named, dict) else name_in_order(cube, named, label=path)
        return adapt(cube, bands=mapping, label=path)

    def _options(
        self, source: "Source", bands: Sequence[str] | None, named: list[str] | dict[str, str] | None
    ) -> dict[str, Any]:
        """Options of the reader."""
        found = options.reader_options(self.reader)
        if self.dims and not self.shared:
            found["dims"] = options.pairs("--dim", self.dims, "t=time")
        if self.crs is not None:
            found["crs"] = self.crs
        if isinstance(named, dict) and _by_file(source):
            found["bands"] = named
        elif bands is not None and named is None and source.by_band:
            found["bands"] = bands
        return found


def _by_file(source: "Source") -> bool:
    """Whether names of bands go with files, which must be chosen before they are opened."""
    from xsr.sources.registry import BANDS

    return source is BANDS
