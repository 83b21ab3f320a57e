"""LevelDB databases: one that LevelDB 1.23 wrote, and broken ones.

The database in `leveldb/` holds 36 images, image k filled with k and of class k % 3, in a table
that is compressed. Its log holds later changes: image 4 is deleted, image 7 is filled with 207 and
of class 1, image 36 is added. Image 35 was deleted before the table was written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from secateur.core.errors import DataError
from secateur.formats.caffe.data.leveldb_data import LevelData
from secateur.formats.caffe.data.snappy import decompressed

REAL = Path(__file__).parent / "leveldb"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return Path(shutil.copytree(REAL, tmp_path / "db"))


def test_what_the_library_wrote(database: Path) -> None:
    before = {path: path.read_bytes() for path in database.iterdir()}
    data = LevelData(database)
    numbers = [k for k in range(37) if k not in (4, 35)]
    assert len(data) == len(numbers)
    samples = [data.read(place, gray=False) for place in range(len(data))]
    for number, sample in zip(numbers, samples, strict=True):
        value, label = (207, 1) if number == 7 else (number, number % 3)
        np.testing.assert_array_equal(sample.image, np.full((4, 6, 3), value))
        assert (sample.label, data.classes_in(numbers.index(number))) == (label, (label,))
        assert sample.where.item == f"key '{number:08}_img'"
    assert {path: path.read_bytes() for path in database.iterdir()} == before  # nothing is written


def _cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_a_log_that_is_cut_off_ends_before(database: Path) -> None:
    (log,) = database.glob("*.log")
    _cut(log, log.stat().st_size - 1)
    assert len(LevelData(database)) == 36  # image 4 is no longer deleted


def test_broken_databases_are_told(database: Path) -> None:
    (table,) = database.glob("*.ldb")
    (manifest,) = database.glob("MANIFEST-*")
    whole, current = table.read_bytes(), (database / "CURRENT").read_bytes()
    for content, told in (
        (b"", "no table of LevelDB"),
        (whole[:-1], "no table of LevelDB"),
        (whole[40:], "compress|ends early|reaches beyond|too large"),
    ):
        table.write_bytes(content)
        with pytest.raises(DataError, match=told):
            LevelData(database)
    table.unlink()
    with pytest.raises(DataError, match="table 000005 is not there"):
        LevelData(database)
    table.write_bytes(whole)
    (database / "CURRENT").write_bytes(b"../../etc/passwd\n")
    with pytest.raises(DataError, match="CURRENT names no manifest"):
        LevelData(database)
    (database / "CURRENT").write_bytes(current)
    manifest.write_bytes(b"")
    (log,) = database.glob("*.log")
    log.unlink()
    with pytest.raises(DataError, match="the database is empty"):
        LevelData(database)


def test_any_byte_may_be_wrong(database: Path) -> None:
    """A change of any byte gives images or a DataError."""
    draws = np.random.default_rng(0)
    files = [*database.glob("*.ldb"), *database.glob("*.log"), *database.glob("MANIFEST-*")]
    refused = 0
    for path in files:
        whole = path.read_bytes()
        for place in draws.integers(0, len(whole), 60).tolist():
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
            try:
                data = LevelData(database)
                for index in range(len(data)):
                    data.value(index)
            except DataError:
                refused += 1
        path.write_bytes(whole)
    assert refused > 10


def test_snappy() -> None:
    literal = bytes([11, 4 << 2]) + b"abcde" + bytes([(2 << 2) | 1, 5])  # a copy of 6 from 5 before
    assert decompressed(literal) == b"abcdeabcdea"
    long = bytes([70, 60 << 2, 69]) + bytes(range(70))
    assert decompressed(long) == bytes(range(70))
    wide = bytes([9, 2 << 2]) + b"abc" + bytes([(5 << 2) | 2, 3, 0])
    assert decompressed(wide) == b"abcabcabc"
    for broken, told in (
        (b"", "ends early"),
        (bytes([5, 4 << 2]) + b"abc", "ends early"),
        (bytes([5, 4 << 2]) + b"abcdefgh"[:5] + bytes([0]), "ends early"),
        (bytes([9, 2 << 2]) + b"abc", "3 bytes were compressed, not 9"),
        (bytes([9, 2 << 2]) + b"abc" + bytes([(5 << 2) | 2, 4, 0]), "was not there"),
        (b"\xff\xff\xff\xff\xff\x01", "too large"),
    ):
        with pytest.raises(DataError, match=told):
            decompressed(broken)
