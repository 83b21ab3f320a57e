"""Takes the pictures of the documentation: `make pictures`.

It prunes the fixture network with `--report` and has a headless Chromium photograph the page's
beginning, at half its size. Nothing is fetched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "error: pictures need Chromium, and PATH has none (hint: apt-get install chromium)"

WIDTH, HEIGHT = 1120, 1500
"""Pixels of the window."""

SHARE = 0.75
"""Size of the picture, as a part of the window's: letters can still be read."""

LARGEST = 200_000
"""Bytes of a picture."""

COLOURS = 96
"""Colours of a picture, so that it stays below :data:`LARGEST`."""


def main() -> int:
    """Take all pictures; return the exit code."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(MISSING, file=sys.stderr)  # noqa: T201
        return 1
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        report = _report(Path(folder))
        _photographed(browser, report, PICTURES / "report.png", Path(folder))
    print(f"wrote {PICTURES / 'report.png'}")  # noqa: T201
    return 0


def _report(folder: Path) -> Path:
    """Return the report of a prune of the fixture network."""
    model = [f"fixtures/shapes_caffe/shapes.{end}" for end in ("prototxt", "caffemodel")]
    _run(
        [sys.executable, "-m", "secateur.cli.main", "prune", *model, "--rate", "0.3",
         "--data", "fixtures/calibration.npz", "--val", "fixtures/shapes.npz",
         "-o", str(folder / "pruned"), "--report", str(folder / "report.html"), "--quiet"]
    )  # fmt: skip
    return folder / "report.html"


def _photographed(browser: str, page: Path, picture: Path, folder: Path) -> None:
    """Write a picture of the beginning of a page."""
    whole = folder / "whole.png"
    _run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--disable-background-networking", "--blink-settings=preferredColorScheme=1",
         f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{HEIGHT}",
         f"--screenshot={whole}", page.as_uri()]
    )  # fmt: skip
    with Image.open(whole) as image:
        size = (round(SHARE * image.width), round(SHARE * image.height))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    if picture.stat().st_size > LARGEST:
        raise SystemExit(f"error: {picture} is larger than {LARGEST:,} bytes")


def _run(command: Sequence[str]) -> None:
    """Run a program in the project; end with what it says if it fails."""
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:
        raise SystemExit(result.stderr or f"error: {command[0]} failed")


if __name__ == "__main__":
    sys.exit(main())
