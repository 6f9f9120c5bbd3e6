"""Folders, zip and tar archives, read in place.

A product arrives as a folder or as the archive that was downloaded. `Archive` gives both one face: names with forward
slashes, bytes, and the path under which GDAL reads a member without unpacking it. An archive may be anybody's: what it
lists is compared with what products are like before anything is read.
"""

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO

from xsr.core.errors import ProductError
from xsr.sources.limits import METADATA_BYTES, check_document

PIECE = 1 << 20
"""Bytes read at a time."""
ENTRIES = 100_000
"""Most files of an archive; a product has some hundred."""
RATIO, SMALL = 100, 1 << 30
"""Most by which an archive may shrink its files, and their size in bytes up to which it does not matter."""
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of the names of tar archives."""


@dataclass(frozen=True)
class Archive:
    """A folder, zip archive or tar archive."""

    path: Path
    """Absolute path of the folder or archive."""
    trust: bool = False
    """Whether files of a folder may be links to files outside of it."""

    @classmethod
    def open(cls, path: str | Path, *, trust: bool = False) -> "Archive":
        """Open a folder, zip archive or tar archive.

        Parameters
        ----------
        path
            Folder or archive.
        trust
            Follow links out of a folder.

        Raises
        ------
        ProductError
            If there is nothing at the path, the archive is damaged or none of a product, or a name or link in it points
            outside of it.
        """
        archive = cls(Path(path).absolute(), trust)
        if not archive.path.exists():
            raise ProductError(f"{path} not found; expected a product folder or archive. Check the path.")
        for name in archive.names:
            check_name(name, archive.path.name)
        return archive

    @cached_property
    def zipped(self) -> bool:
        """Whether it is a zip archive."""
        return not (self.path.is_dir() or self.tarred)

    @cached_property
    def tarred(self) -> bool:
        """Whether it is a tar archive, as Landsat comes in."""
        return self.path.name.lower().endswith(TAR) and self.path.is_file()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Sizes in bytes of all files by name."""
        if self.tarred:
            return self._tar_sizes()
        return self._zip_sizes() if self.zipped else self._folder_sizes()

    def _folder_sizes(self) -> dict[str, int]:
        files = [file for file in sorted(self.path.rglob("*")) if file.is_file()]
        root = self.path.resolve()
        for file in files if not self.trust else ():
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise ProductError(
                    f"{file} is a link to a file outside of its product; expected files of the product. Pass"
                    " trust=True, if the links are yours."
                )
        return {file.relative_to(self.path).as_posix(): file.stat().st_size for file in files}

    def _zip_sizes(self) -> dict[str, int]:
        try:
            with zipfile.ZipFile(self.path) as file:
                entries = [info for info in file.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ProductError(
                f"{self.path} cannot be read: {error}. Expected a folder or a complete zip archive; download it again."
            ) from error
        links = [info.filename for info in entries if stat.S_ISLNK(info.external_attr >> 16)]
        return self._checked([(info.filename, info.file_size) for info in entries], links)

    def _tar_sizes(self) -> dict[str, int]:
        if not self.path.name.lower().endswith(".tar"):
            raise ProductError(
                f"{self.path} is a compressed tar archive, in which no file can be read by itself; expected a folder,"
                " zip or plain tar archive. Unpack it first."
            )
        try:
            with tarfile.open(self.path, "r:") as file:  # not compressed, whatever its name
                entries = [info for info in islice(file, ENTRIES + 1) if not info.isdir()]
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise ProductError(
                f"{self.path} cannot be read: {error}. Expected a complete tar archive; download it again."
            ) from error
        links = [info.name for info in entries if not info.isfile()]
        return self._checked([(info.name.removeprefix("./"), info.size) for info in entries], links)

    def _checked(self, files: list[tuple[str, int]], links: list[str]) -> dict[str, int]:
        """Sizes of the files of an archive, if they can be those of products."""
        sizes, total = dict(files), sum(size for _, size in files)
        if links:
            odd = f"holds {links[0]!r}, which is a link or a device"
        elif len(files) > ENTRIES:
            odd = f"holds more than {ENTRIES} files"
        elif len(sizes) < len(files):
            odd = "holds two files of one name"
        elif total > max(SMALL, RATIO * self.path.stat().st_size):
            odd = f"holds {total} bytes in {self.path.stat().st_size}"
        else:
            return sizes
        raise ProductError(f"{self.path} {odd}; expected the files of a product. Unpack it, if you trust it.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files, relative, with forward slashes."""
        return tuple(self.sizes)

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Raises
        ------
        ProductError
            If there is no such file, or its bytes in a zip do not have the checksum that the zip gives for them.
        """
        if name not in self.sizes:
            raise ProductError(f"{name} is missing in {self.path}; expected a complete product. Download it again.")
        try:
            if self.tarred:
                with tarfile.open(self.path, "r:") as tar:
                    yield _member(tar, name)
            elif self.zipped:
                with zipfile.ZipFile(self.path) as file, file.open(name) as member:
                    yield member
            else:
                with (self.path / name).open("rb") as plain:
                    yield plain
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, tarfile.TarError, RuntimeError) as error:
            raise ProductError(f"{name} in {self.path} is damaged: {error}. Download the product again.") from error

    def read(self, name: str) -> bytes:
        """Read a whole file of metadata.

        Raises
        ------
        ProductError
            If it is larger than any of those; also as `stream`.
        """
        with self.stream(name) as file:
            return check_document(file.read(METADATA_BYTES + 1), f"{name} in {self.path}")

    def pieces(self, name: str) -> Iterator[bytes]:
        """Read a file piece by piece."""
        with self.stream(name) as file:
            while piece := file.read(PIECE):
                yield piece

    def check(self, names: Iterable[str]) -> None:
        """Check that files are there, and in a zip archive that they have the checksum it gives for them.

        Raises
        ------
        ProductError
            If one is missing or damaged.
        """
        for name in names:
            if not (self.zipped or self.tarred) and name in self.sizes:
                continue
            for _ in self.pieces(name):
                pass

    def gdal(self, name: str) -> str:
        """Path under which GDAL reads a file."""
        if self.tarred:
            return f"/vsitar/{{{self.path}}}/{name}"
        return f"/vsizip/{{{self.path}}}/{name}" if self.zipped else str(self.path / name)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open a file of a tar archive, whose names may begin with a dot."""
    found = next(info for info in tar if info.name.removeprefix("./") == name)
    file = tar.extractfile(found)
    assert file is not None, name
    return file


def check_name(name: str, where: str) -> None:
    r"""Refuse a name that points outside of its archive.

    Raises
    ------
    ProductError
        If the name is absolute, names a drive, climbs with ``..``, or has backslashes or control characters.

    Examples
    --------
    >>> check_name("GRANULE/x.jp2", "a.zip")
    >>> check_name("../x.jp2", "a.zip")
    Traceback (most recent call last):
    ...
    xsr.core.errors.ProductError: a.zip holds the name '../x.jp2', which points outside of it; ...
    """
    if re.match(r"^(/|[A-Za-z]:)", name) or "\\" in name or ".." in name.split("/") or not name.isprintable():
        raise ProductError(
            f"{where} holds the name {name!r}, which points outside of it; expected names inside. Do not trust this"
            " archive."
        )
