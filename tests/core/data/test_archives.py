"""Archives of images: they are read like the folder that they hold, and nothing leaves it."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from secateur.core.data import open_dataset
from secateur.core.errors import DataError

from .test_kinds import image, labels_of, network, objects_of

ENDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz")


@pytest.fixture(autouse=True)
def aside(tmp_path_factory, monkeypatch):
    """The folder for temporary files, which must be empty at the end."""
    folder = tmp_path_factory.mktemp("aside")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def archived(folder: Path, path: Path) -> Path:
    """Pack a folder with its name, as people do."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder.parent))
    else:
        kinds = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
        with tarfile.open(path, kinds[path.suffix]) as archive:
            archive.add(folder, folder.name)
    return path


def classes(folder: Path) -> Path:
    for number, name in enumerate(("0_a", "1_b", "2_c")):
        image(folder / name / "x.png", 10 * number)
    return folder


@pytest.mark.parametrize("end", ENDS)
def test_folders_of_classes(end, tmp_path, aside):
    folder = classes(tmp_path / "set")
    path = archived(folder, tmp_path / f"set.{end}")
    before = sorted(tmp_path.iterdir())
    found, plain = open_dataset(path, network()), open_dataset(folder, network())
    assert found.name == str(path)
    assert labels_of(found) == labels_of(plain) == [0, 1, 2]
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_array_equal(one.inputs["data"], other.inputs["data"])
        assert [place.file for place in one.places] == [
            place.file.replace(str(folder), f"{path}/set") for place in other.places
        ]
    assert sorted(tmp_path.iterdir()) == before
    del found
    assert list(aside.iterdir()) == []


def test_annotations_in_an_archive(tmp_path):
    folder = tmp_path / "set"
    image(folder / "a.png")
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>2</ymax></bndbox>"
    (folder / "a.xml").write_text(
        f"<annotation><filename>a.png</filename><object><name>cat</name>{box}</object></annotation>"
    )
    found = open_dataset(archived(folder, tmp_path / "set.zip"), network())
    assert objects_of(found)[0].boxes.tolist() == [[0, 0, 3, 2]]


def test_a_broken_image_is_named_by_the_archive(tmp_path):
    folder = tmp_path / "set"
    image(folder / "a.png")
    (folder / "b.png").write_bytes(b"no image")
    found = open_dataset(archived(folder, tmp_path / "set.tar.gz"), network())
    assert len(list(found)) == 1
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path}/set.tar.gz/set/b.png: ")


def test_what_file_managers_leave_is_not_read(tmp_path):
    folder = tmp_path / "set"
    image(folder / "a.png")
    for name in ("__MACOSX/._a.png", ".hidden/b.png", "._a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    assert open_dataset(archived(folder, tmp_path / "set.zip"), network()).samples == 1


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "..\\a.png", "C:\\a.png"])
@pytest.mark.parametrize("end", ["zip", "tar"])
def test_no_path_leaves_the_folder(name, end, tmp_path, aside):
    path = tmp_path / f"bad.{end}"
    if end == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
    else:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="would lie outside"):
        open_dataset(path, network())
    assert [file.name for file in tmp_path.iterdir()] == [f"bad.{end}"]
    assert list(aside.iterdir()) == []


def test_links_are_not_followed(tmp_path, aside):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"a\.tar: 'a\.png' is a link"):
        open_dataset(path, network())
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("a.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"a\.zip: 'a\.png' is a link"):
        open_dataset(path, network())
    assert list(aside.iterdir()) == []


@pytest.mark.parametrize("end", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_what_was_made_to_fill_a_disk(end, tmp_path, aside, monkeypatch):
    monkeypatch.setattr("secateur.core.packed.ALWAYS", 1 << 20)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes(bytes(1 << 26))
    path = archived(folder, tmp_path / f"set.{end}")
    with pytest.raises(DataError, match="times as large"):
        open_dataset(path, network())
    assert list(aside.iterdir()) == []


def test_headers_that_claim_too_much(tmp_path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(DataError, match=r"a\.tar: the archive is broken"):
        open_dataset(path, network())


@pytest.mark.parametrize("end", ENDS)
def test_archives_that_are_cut_short(end, tmp_path, aside):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.png").write_bytes(np.random.default_rng(0).bytes(1 << 16))
    path = archived(folder, tmp_path / f"set.{end}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="broken"):
        open_dataset(path, network())
    assert list(aside.iterdir()) == []


def test_an_encrypted_archive(tmp_path):
    path = archived(classes(tmp_path / "set"), tmp_path / "set.zip")
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8 : place + 10] = struct.pack("<H", 1)
    path.write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        open_dataset(path, network())


def test_an_archive_without_data(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "readme.md").write_text("nothing")
    path = archived(folder, tmp_path / "set.zip")
    with pytest.raises(DataError, match=r"set\.zip.* no kind of data|holds no images"):
        open_dataset(path, network())
