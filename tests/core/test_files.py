"""Files that appear whole, and the lock of a folder: refused, released, gone, or not to be had."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from secateur.core.errors import DataError, FormatError
from secateur.core.files import LOCK, alone_in, made_folder, write_whole

HOLD = """
import sys, time
from pathlib import Path
from secateur.core.files import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

TAKE_TURNS = """
import sys, time
from pathlib import Path
from secateur.core.errors import DataError
from secateur.core.files import alone_in
folder, deadline = Path(sys.argv[1]), time.monotonic() + 2
while time.monotonic() < deadline:
    try:
        with alone_in(folder):
            mine = folder / "mine"
            mine.touch(exist_ok=False)
            mine.unlink()
    except DataError:
        pass
"""


def other_process(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(folder: Path) -> bool:
    try:
        with alone_in(folder):
            return False
    except DataError:
        return True


def test_a_second_run_is_refused_at_once(tmp_path):
    with alone_in(tmp_path):
        start = time.monotonic()
        assert refused(tmp_path)
        assert time.monotonic() - start < 1
        with pytest.raises(DataError, match=f"^{tmp_path}: another run is at work in this folder "):
            alone_in(tmp_path).__enter__()
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(refused(tmp_path)))
        thread.start()
        thread.join()
        assert found == [True]
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []
    assert not refused(tmp_path)


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), alone_in(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    assert not refused(tmp_path)


def test_a_killed_process_hinders_nobody(tmp_path):
    process = other_process(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert refused(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert not refused(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_runs_that_come_and_go_are_never_two_at_once(tmp_path):
    processes = [other_process(TAKE_TURNS, tmp_path) for _ in range(4)]
    for process in processes:
        _, report = process.communicate(timeout=60)
        assert process.returncode == 0, report
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, recwarn, number):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with alone_in(tmp_path), alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    assert not recwarn.list


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / LOCK).touch()
    monkeypatch.setattr(os, "open", refuse)
    with alone_in(tmp_path):
        pass
    assert (tmp_path / LOCK).exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"one ", memoryview(b"two"))
    assert path.read_bytes() == b"one two"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=f"^{path}: cannot be written: No space left on device$"):
        write_whole(path, b"three")
    with pytest.raises(FormatError):
        write_whole(path, b"three", error=FormatError)
    assert path.read_bytes() == b"one two"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(DataError, match="file: cannot be written"):
        write_whole(tmp_path / "file", b"")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_made_goes_again_where_nothing_came_to_stand_in_it(tmp_path):
    folder, file = tmp_path / "a/b", tmp_path / "a/b/file"
    with made_folder(folder):
        assert folder.is_dir()
    assert not folder.exists()
    with made_folder(folder):
        file.write_text("")
    with made_folder(folder):
        file.unlink()
    assert folder.exists(), "it was there before"
    file.write_text("")
    with pytest.raises(FormatError, match="is no folder"), made_folder(file, FormatError):
        pass
    with pytest.raises(DataError, match="cannot be made: Not a directory"), made_folder(file / "c"):
        pass
