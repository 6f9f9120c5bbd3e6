"""Where a store lies, a folder or a URL, and one error for all that can go wrong there."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xsr.core.errors import ParameterError, StoreError, XsrError, cause
from xsr.core.redact import public, scrub

REMEDY = "Blocks written so far are safe; mend the cause and go on with resume=True (xsr run --resume)."
RETRY = "No block was written by this call; mend the cause and try again."


@dataclass(frozen=True)
class Place:
    """A folder or a URL; travels to workers."""

    path: str
    options: Mapping[str, Any] | None = field(default=None, repr=False)
    """Options of fsspec for a URL: endpoint, credentials. Never written to the store."""

    def __repr__(self) -> str:
        return f"Place({self.name!r})"

    @property
    def name(self) -> str:
        """Path to show and to write down: of a URL without password and query."""
        return public(self.path)

    @property
    def remote(self) -> bool:
        """Whether the path is a URL."""
        return "://" in self.path

    @property
    def fsspec(self) -> dict[str, Any] | None:
        """Options as fsspec takes them."""
        return None if self.options is None else dict(self.options)

    def beside(self, suffix: str) -> "Place":
        """Return the place of the same name with a suffix."""
        return Place(self.path.rstrip("/") + suffix, self.options)

    def open(self, mode: Literal["r", "r+"] = "r+", *, zarr_format: Literal[2, 3] | None = None) -> Any:
        """Open the Zarr group that lies here; consolidated metadata is not used while blocks are written."""
        import zarr

        return zarr.open_group(
            self.path, mode=mode, use_consolidated=False, storage_options=self.fsspec, zarr_format=zarr_format
        )

    def erase(self, key: str) -> None:
        """Delete an object of the store, if it is there."""
        if self.remote:
            from fsspec.core import url_to_fs

            files, root = url_to_fs(self.path, **(self.fsspec or {}))
            with suppress(FileNotFoundError):
                files.rm_file(f"{root}/{key}")
        else:
            Path(self.path, key).unlink(missing_ok=True)

    def is_group(self) -> bool:
        """Whether a Zarr group lies here."""
        from zarr.errors import GroupNotFoundError

        try:
            self.open("r")
        except (FileNotFoundError, NotADirectoryError, GroupNotFoundError):
            return False
        return True

    def is_taken(self) -> bool:
        """Whether anything lies here; an empty folder does not count."""
        if self.remote:
            return self.is_group()
        local = Path(self.path)
        return local.exists() and (local.is_file() or any(local.iterdir()))

    def free_bytes(self) -> int | None:
        """Free space of the disk, None where it is not known."""
        if self.remote:
            return None
        folder = Path(self.path).absolute()
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def move(self, target: "Place") -> None:
        """Rename a local store; an empty folder is replaced."""
        Path(self.path).rename(target.path)

    def remove(self) -> None:
        """Delete a local store, if there is one."""
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what writers that were killed left half written in a local store."""
        if not self.remote:
            for path in Path(self.path).rglob("*.partial"):
                path.unlink(missing_ok=True)


def resolve_place(path: str | Path, options: Mapping[str, Any] | None) -> Place:
    """Place of a path or URL that a user gave.

    Raises
    ------
    ParameterError
        If it is neither, or has options without being a URL.
    """
    if not isinstance(path, str | Path):
        raise ParameterError(f"path={path!r}; expected the folder or the URL of a store, as text or a Path.")
    place = Place(str(path), options)
    if options is not None and not place.remote:
        raise ParameterError(
            f"storage_options with {path}, a local path; expected a URL such as s3://bucket/name.zarr."
        )
    return place


@contextmanager
def store_errors(place: Place, doing: str, *, remedy: str = REMEDY) -> Iterator[None]:
    """Turn whatever a store raises into one `StoreError` that says what was being done, and what to do."""
    try:
        yield
    except XsrError:
        raise
    except Exception as error:
        known = place.path, place.options
        text = f"{doing} {place.name} failed: {reason(error, *known)}. {remedy}"
        raise StoreError(text) from cause(error, *known)


def reason(error: BaseException, *known: object) -> str:
    """First line of an error, with its kind, without secrets; see `xsr.core.redact.scrub`."""
    text = scrub(str(error).strip(), *known)
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
