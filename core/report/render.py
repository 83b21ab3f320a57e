"""From facts to a page, and to a file."""

from __future__ import annotations

from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ...version import __version__
from ..errors import FormatError, UnsupportedError, located
from ..files import write_whole
from .style import style

if TYPE_CHECKING:
    from jinja2 import Environment

    from .facts import ReportFacts

__all__ = ["REPORT_FILE", "check_report", "render_report", "report_path", "save_report"]

REPORT_FILE = "report.html"
"""Name of the report where a folder is given for it."""

NEEDED = ("jinja2", "vl_convert")
"""What the extra `report` installs: templates, and Vega-Lite as a library without a browser."""


def report_path(path: str | PathLike[str]) -> Path:
    """Return the file of a report: `path` itself, or :data:`REPORT_FILE` in the folder it is."""
    found = Path(path)
    is_folder = found.is_dir() or str(path).endswith(("/", "\\")) or not found.suffix
    return found / REPORT_FILE if is_folder else found


def check_report(path: str | PathLike[str]) -> None:
    """Raise where a report could not be written, before the work that it tells of is done.

    Raises:
        UnsupportedError: the extra `report` is not installed.
        FormatError: the place is no place for an HTML file.
    """
    for name in NEEDED:
        if find_spec(name) is None:
            raise UnsupportedError(
                "reports need packages that are not installed",
                hint="pip install 'secateur[report]'",
                option="report",
            )
    file = report_path(path)
    if file.suffix.lower() not in (".html", ".htm"):
        raise FormatError(
            f"a report is an HTML file, not '{file.suffix}'",
            hint="give a name that ends in .html, or a folder",
            option="report",
        )
    if file.is_dir():
        with located(file=str(file)):
            raise FormatError("a report cannot replace a folder", option="report")
    above = next(folder for folder in file.absolute().parents if folder.exists())
    if not above.is_dir():
        with located(file=str(above)):
            raise FormatError("a report needs a folder, and this is a file", option="report")


def render_report(facts: ReportFacts) -> str:
    """Return a report as one HTML page that needs nothing beside itself.

    Args:
        facts: what it tells.

    Raises:
        UnsupportedError: the extra `report` is not installed.
    """
    check_report(REPORT_FILE)
    from .panels import panels_of

    page = _templates().get_template("page.html")
    return page.render(
        title=facts.title,
        mark=facts.mark,
        panels=panels_of(facts),
        version=__version__,
        style=style(),
    )


def save_report(facts: ReportFacts, path: str | PathLike[str]) -> Path:
    """Write a report; the file is whole or not there.

    Args:
        facts: what it tells.
        path: a file that ends in .html, or a folder. Folders are made.

    Returns:
        the file.

    Raises:
        UnsupportedError: the extra `report` is not installed.
        FormatError: it cannot be written.
    """
    check_report(path)
    file = report_path(path)
    text = render_report(facts)
    with located(file=str(file)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    write_whole(file, text.encode(), error=FormatError)
    return file


def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
