"""Whether the files of a SAFE product are what its manifest says.

GDAL reads a truncated JPEG 2000 file without complaint and returns wrong pixels, so that the check comes before the
first pixel. Three levels: the structure of the file alone; its size, too; its checksum, too.

References
----------
ISO/IEC 15444-1 (JPEG 2000), annexes A (codestream) and I (boxes); manifest.safe of the SAFE format (XFDU).
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Literal, get_args

from xsr.core.errors import ParameterError, ProductError
from xsr.sources.archive import Archive, check_name
from xsr.sources.stated import stated_number
from xsr.sources.xml import parse_xml

Verify = Literal["checksum", "size", "structure"]
"""How much of a file is checked; each level includes those after it."""


@dataclass(frozen=True)
class Entry:
    """What a manifest says about a file."""

    size: int
    algorithm: str
    digest: str


def check_level(verify: str) -> None:
    """Refuse an unknown level.

    Raises
    ------
    ParameterError
        If it is none of `Verify`.
    """
    if verify not in get_args(Verify):
        raise ParameterError(f"verify={verify!r}; expected one of {', '.join(get_args(Verify))}.")


def parse_manifest(text: bytes, root: str) -> dict[str, Entry]:
    """Read sizes and checksums by file name, the names prefixed with the folder of the product."""
    entries = {}
    for stream in parse_xml(text, f"{root}manifest.safe").iter("byteStream"):
        location, checksum = stream.find("fileLocation"), stream.find("checksum")
        if location is None or checksum is None:
            continue
        name = location.get("href", "").removeprefix("./")
        check_name(name, "manifest.safe")
        entries[root + name] = Entry(
            int(stated_number(stream.get("size", "-1"), f"the size of {name}", where="manifest.safe")),
            checksum.get("checksumName", ""),
            (checksum.text or "").strip().lower(),
        )
    return entries


def verify_files(archive: Archive, root: str, names: Iterable[str], verify: Verify) -> None:
    """Check files before their pixels are trusted.

    Parameters
    ----------
    archive
        The product.
    root
        Folder of the product inside the archive, with a trailing slash, or nothing.
    names
        Files about to be read.
    verify
        How much to check.

    Raises
    ------
    ProductError
        If a file is missing, incomplete, not listed, or has another size or checksum; its name is in the message.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in archive.sizes:
            raise ProductError(
                f"{name} is missing in {archive.path}, though the product lists it. Download the product again, or"
                " choose bands and resolution= whose files are there."
            )
    if verify != "structure":
        if f"{root}manifest.safe" not in archive.sizes:
            raise ProductError(
                f"{archive.path} has no manifest.safe; its files cannot be verified. Download the product again, or"
                " pass verify='structure' to check only that each file is whole."
            )
        entries = parse_manifest(archive.read(f"{root}manifest.safe"), root)
        for name in names:
            _verify_file(archive, name, entries.get(name), verify)
    for name in names:
        if name.endswith(".jp2"):
            _verify_jp2(archive, name)


def _verify_file(archive: Archive, name: str, entry: Entry | None, verify: Verify) -> None:
    remedy = "Download the product again, or pass verify='structure' if its files were re-encoded on purpose."
    if entry is None:
        raise ProductError(f"{name} in {archive.path} is not listed in manifest.safe. {remedy}")
    if archive.sizes[name] != entry.size:
        raise ProductError(
            f"{name} in {archive.path} has {archive.sizes[name]} bytes; manifest.safe says {entry.size}. {remedy}"
        )
    if verify == "checksum" and _digest(archive, name, entry.algorithm) != entry.digest:
        raise ProductError(
            f"{name} in {archive.path} does not have the {entry.algorithm} that manifest.safe gives for it. {remedy}"
        )


def _digest(archive: Archive, name: str, algorithm: str) -> str:
    plain = algorithm.lower()
    known = [option for option in (plain.replace("-", "_"), plain.replace("-", "")) if option in _ALGORITHMS]
    if not known:
        raise ProductError(
            f"manifest.safe gives a {algorithm!r} for {name}; expected one of {sorted(_ALGORITHMS)}. Pass"
            " verify='size' to check sizes only."
        )
    digest = hashlib.new(known[0], usedforsecurity=False)
    for piece in archive.pieces(name):
        digest.update(piece)
    return digest.hexdigest()


_ALGORITHMS = {"md5", "sha1", "sha256", "sha512", "sha3_256", "sha3_512"}


def _verify_jp2(archive: Archive, name: str) -> None:
    with archive.stream(name) as file:
        whole = is_whole_jp2(file, archive.sizes[name])
    if not whole:
        raise ProductError(
            f"{name} in {archive.path} is not a whole JPEG 2000 file: it ends before its own end marker. Download the"
            " product again."
        )


def is_whole_jp2(file: IO[bytes], size: int) -> bool:
    """Whether a JPEG 2000 file has all of its boxes, and a codestream that ends with its end marker."""
    position, found = 0, False
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if length == 1:
            length, header = struct.unpack(">Q", file.read(8))[0], 16
        end = size if length == 0 else position + length
        if end > size or end < position + header:
            return False
        if kind == b"jp2c":
            file.seek(end - 2)
            found = file.read(2) == b"\xff\xd9"
            if not found:
                return False
        position = end
    return found and position == size
