"""The report in a browser: nothing wider than the page, light and dark, charts for both widths."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageStat

import secateur

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CAFFE = [FIXTURES / "shapes_caffe" / f"shapes.{end}" for end in ("prototxt", "caffemodel")]

SAID = """<script>document.title = [
  document.documentElement.scrollWidth, innerWidth,
  ...["wide", "narrow"].map(name => [...document.querySelectorAll("." + name + " svg")]
    .filter(one => one.getBoundingClientRect().width > 0).length),
].join(" ")</script></body>"""
"""Makes a page tell its width, the window's, and how many charts of each kind are seen."""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    network = secateur.load(*CAFFE)
    data = secateur.open_dataset(FIXTURES / "shapes.npz", network, limit=30)
    result = secateur.prune(network, rate=0.4, data=data)
    facts = secateur.ReportFacts(
        network=network, result=result, data=data.name, samples=30,
        rows=secateur.summarize(network, result.network, data=data),
        examples=secateur.find_examples(network, result.network, data, count=2),
        command="secateur prune " + "a_long_name_without_any_space/" * 8,
    )  # fmt: skip
    return secateur.save_report(facts, tmp_path_factory.mktemp("report") / "report.html")


def browse(folder: Path, *arguments: object) -> str:
    result = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={folder / 'profile'}", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(("width", "kind"), [(500, "narrow"), (1400, "wide")])
def test_nothing_is_wider_than_the_page(report, tmp_path, width, kind):
    page = tmp_path / "page.html"
    page.write_text(report.read_text(encoding="utf-8").replace("</body>", SAID), encoding="utf-8")
    text = browse(tmp_path, "--dump-dom", f"--window-size={width},900", page.as_uri())
    whole, window, wide, narrow = map(int, re.search(r"<title>([^<]*)", text)[1].split())
    assert window == width
    assert whole <= window
    assert (wide > 0, narrow > 0) == (kind == "wide", kind == "narrow")


@pytest.mark.parametrize(
    ("scheme", "low", "high"), [(0, 0, 90), (1, 200, 255)], ids=["dark", "light"]
)
def test_light_and_dark(report, tmp_path, scheme, low, high):
    file = tmp_path / "page.png"
    browse(
        tmp_path, f"--screenshot={file}", "--window-size=700,1200",
        f"--blink-settings=preferredColorScheme={scheme}", report.as_uri(),
    )  # fmt: skip
    with Image.open(file) as image:
        assert image.size == (700, 1200)
        assert low <= ImageStat.Stat(image.convert("L")).mean[0] <= high
