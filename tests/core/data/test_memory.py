"""Memory of arrays that come and go."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource
import sys
import numpy as np
from secateur.core.data.memory import keep_freed

if sys.argv[1] == "keep":
    keep_freed()
for round in range(40):
    if round == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(1 << 20, np.uint8) for _ in range(4)]
    del arrays
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this is about glibc")
@pytest.mark.skipif(
    HUGE.exists() and "[always]" in HUGE.read_text(), reason="pages of 2 MB are few anyway"
)
def test_pages_of_arrays_that_are_gone_are_used_again() -> None:
    def new_bytes(how: str) -> float:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        )
        return float(run.stdout) * resource.getpagesize()

    if new_bytes("leave") < 1 << 21:
        pytest.skip("this system gives no new pages, or does not count them")
    assert new_bytes("keep") < 1 << 18
