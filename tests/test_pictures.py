"""The pictures of the documentation: they are there, small, shown, and a command makes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURES = sorted((ROOT / "docs/pictures").iterdir())
SHOWN = re.compile(r"!\[([^\]]+)\]\(([^)\s]+)\)")


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_pictures_are_small_and_whole(path):
    assert path.stat().st_size < 200_000
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width >= 600


@pytest.mark.parametrize("page", ["README.md", "docs/workflows/look.md"])
def test_pages_show_them_and_say_what_is_to_be_seen(page):
    found = SHOWN.findall((ROOT / page).read_text(encoding="utf-8"))
    assert found
    for text, target in found:
        assert (ROOT / page).parent.joinpath(target).resolve() in PICTURES
        assert len(text) > 20


def test_without_a_browser_the_command_says_what_is_missing(tmp_path):
    result = subprocess.run(
        [sys.executable, ROOT / "docs/take_pictures.py"], capture_output=True, text=True,
        check=False, env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: pictures need Chromium, and PATH has none (hint: apt-get install chromium)"
    ]
    assert "docs/take_pictures.py" in (ROOT / "Makefile").read_text()
