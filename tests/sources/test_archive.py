"""Archives and folders of products from anybody: refused before anything in them is read."""

import io
import tarfile
import zipfile

import pytest
from fuzzing import refused_or

from xsr.core.errors import ProductError
from xsr.sources import archive, limits
from xsr.sources.archive import Archive


def write_zip(path, files, links=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files:
            file.writestr(zipfile.ZipInfo(name) if name in links else name, content)
            if name in links:
                file.infolist()[-1].external_attr = 0o120777 << 16
    return path


def write_tar(path, *members):
    with tarfile.open(path, "w") as file:
        for name, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = 1 if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(b"x"))
    return path


@pytest.mark.parametrize("name", ["../x", "/x", "C:\\x", "C:/x", "a\\..\\x", "a/../../x", "a\nb", "a\x1b[2J"])
def test_names_that_point_outside_or_move_the_cursor_are_refused(tmp_path, name):
    with pytest.raises(ProductError, match="points outside of it"):
        Archive.open(write_zip(tmp_path / "a.zip", [(name, b"x")]))


def test_links_in_archives_are_refused(tmp_path):
    with pytest.raises(ProductError, match="holds 'link', which is a link or a device"):
        Archive.open(write_zip(tmp_path / "a.zip", [("link", b"/etc/passwd")], links=["link"]))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with pytest.raises(ProductError, match="holds 'b', which is a link or a device"):
            Archive.open(write_tar(tmp_path / "a.tar", ("a", tarfile.REGTYPE), ("b", kind)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path):
    """The one that is checked and the one that GDAL reads could differ."""
    with pytest.raises(ProductError, match="holds two files of one name"):
        Archive.open(write_zip(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")]))
    with pytest.raises(ProductError, match="holds two files of one name"):
        Archive.open(write_tar(tmp_path / "a.tar", ("a", tarfile.REGTYPE), ("./a", tarfile.REGTYPE)))


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "ENTRIES", 3)
    names = [f"{number}" for number in range(4)]
    with pytest.raises(ProductError, match="holds more than 3 files"):
        Archive.open(write_zip(tmp_path / "a.zip", [(name, b"") for name in names]))
    with pytest.raises(ProductError, match="holds more than 3 files"):
        Archive.open(write_tar(tmp_path / "a.tar", *((name, tarfile.REGTYPE) for name in names)))
    assert len(Archive.open(write_zip(tmp_path / "b.zip", [(name, b"") for name in names[:3]])).names) == 3


def test_an_archive_that_declares_far_more_than_it_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SMALL", 1 << 16)
    with pytest.raises(ProductError, match="holds 1048576 bytes in"):
        Archive.open(write_zip(tmp_path / "a.zip", [("MTD.xml", bytes(1 << 20))]))
    assert Archive.open(write_zip(tmp_path / "b.zip", [("MTD.xml", bytes(1 << 15))])).sizes == {"MTD.xml": 1 << 15}


def test_metadata_are_read_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "METADATA_BYTES", 100)
    monkeypatch.setattr(archive, "METADATA_BYTES", 100)
    opened = Archive.open(write_zip(tmp_path / "a.zip", [("small", bytes(100)), ("large", bytes(101))]))
    assert len(opened.read("small")) == 100
    with pytest.raises(ProductError, match=r"large in .*a\.zip has more than"):
        opened.read("large")


def test_links_out_of_a_folder_are_followed_on_request_alone(tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    product = tmp_path / "product"
    product.mkdir()
    (product / "a").write_bytes(b"1")
    (product / "inside").symlink_to("a")
    assert Archive.open(product).sizes == {"a": 1, "inside": 1}
    (tmp_path / "linked").symlink_to(product)
    assert Archive.open(tmp_path / "linked").sizes == {"a": 1, "inside": 1}, "the product itself may be a link"
    (product / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(ProductError, match=r"link is a link to a file outside of its product.*trust=True"):
        Archive.open(product)
    assert Archive.open(product, trust=True).read("link") == b"secret"


@pytest.mark.parametrize("content", [b"PK\3\4" + bytes(100), b"", bytes(2048)])
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_damaged_archives_are_refused_or_empty(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    refused_or(lambda: Archive.open(tmp_path / name).names)


def test_encrypted_members_are_refused_by_name(tmp_path):
    path = write_zip(tmp_path / "a.zip", [("a", b"1" * 100)])
    content = bytearray(path.read_bytes())
    for start in (content.index(b"PK\3\4") + 6, content.index(b"PK\1\2") + 8):
        content[start] |= 1
    path.write_bytes(content)
    with pytest.raises(ProductError, match=r"a in .*a\.zip is damaged: .*encrypted"):
        Archive.open(path).read("a")
