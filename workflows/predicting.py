"""Pictures with what networks find in them, in a folder with an index, a table and plain values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from ..core.errors import FormatError, located
from ..core.files import json_bytes, write_whole
from ..core.pictures.drawing import drawn, encoded, side_by_side
from ..core.pictures.predict import Prediction
from ..core.report.style import style

__all__ = ["PREDICTIONS_FILE", "Predicted", "check_pictures", "save_pictures"]

PREDICTIONS_FILE, TABLE_FILE, INDEX_FILE = "predictions.json", "predictions.csv", "index.html"
"""Files beside the pictures: plain values, a table, a page with all pictures."""

COLUMNS = ("sample", "model", "class", "name", "score", "share", "x0", "y0", "x1", "y1")

ON_A_PAGE = 500
"""Pictures that the index shows; the rest are in the folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What is kept of a prediction, once its picture is written or not wanted.

    Args:
        name: of the sample.
        texts: what each network finds, in words.
        rows: likewise, as plain values.
        disagreement: how far the second network is from the first one.
        differs: whether it tells people something else.
        file: name of the picture; "" for none.
    """

    name: str
    texts: tuple[str, ...]
    rows: tuple[list[dict[str, object]], ...]
    disagreement: float
    differs: bool
    file: str = ""

    @classmethod
    def of(cls, prediction: Prediction, names: Sequence[str] = (), file: str = "") -> Predicted:
        """Return a prediction without its picture.

        Args:
            prediction: what was found.
            names: of the classes.
            file: name of its picture.
        """
        return cls(
            name=prediction.name,
            texts=tuple(finding.text(names) for finding in prediction.findings),
            rows=tuple(finding.rows(names) for finding in prediction.findings),
            disagreement=prediction.disagreement, differs=prediction.differs, file=file,
        )  # fmt: skip

    def to_data(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        apart = {} if len(self.rows) == 1 else {
            "disagreement": round(self.disagreement, 6), "differs": self.differs
        }  # fmt: skip
        file = {"picture": self.file} if self.file else {}
        return {"name": self.name, **file, **apart, "found": list(self.rows)}


def check_pictures(output: str | PathLike[str]) -> None:
    """Raise where pictures must not be written: nobody's files are replaced.

    Args:
        output: a folder that is not there, is empty, or holds pictures of an earlier run.

    Raises:
        FormatError: it is a file, or holds something else.
    """
    folder = Path(output)
    with located(file=str(folder)):
        if folder.exists() and not folder.is_dir():
            raise FormatError("pictures need a folder, and this is a file", option="output")
        if folder.is_dir() and any(folder.iterdir()) and _earlier(folder) is None:
            raise FormatError(
                "the folder is not empty, and its files are not those of an earlier run",
                hint="give a new folder",
                option="output",
            )


def _earlier(folder: Path) -> Sequence[Path] | None:
    """Return the pictures of an earlier run in a folder; None where there was no such run."""
    try:
        content = json.loads((folder / PREDICTIONS_FILE).read_text(encoding="utf-8"))
        names = [sample.get("picture", "") for sample in content["samples"]]
        models = content["models"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    own = [name for name in names if isinstance(name, str) and PurePath(name).name == name != ""]
    return [folder / name for name in own] if isinstance(models, list) else None


def save_pictures(
    predictions: Iterable[Prediction],
    output: str | PathLike[str],
    models: Sequence[str],
    names: Sequence[str] = (),
) -> Sequence[Predicted]:
    """Draw and write every prediction as it comes, then an index, a table and plain values.

    Args:
        predictions: what was found (:func:`~..core.pictures.predict.predict`).
        output: the folder.
        models: names of the networks.
        names: of the classes.

    Returns:
        what was found, in the order of the data.

    Raises:
        FormatError: the folder holds something else, or cannot be written.
        DataError: as `predictions` does.
    """
    check_pictures(output)
    folder = Path(output)
    found: list[Predicted] = []
    taken: set[str] = set()
    with located(file=str(folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in _earlier(folder) or ():
                path.unlink(missing_ok=True)
        except OSError as error:
            raise FormatError(f"cannot be written: {error.strerror or error}") from error
    _write(folder, found, models)  # so that a run that is stopped can be started again
    for prediction in predictions:
        file = _file_name(prediction.name, taken)
        first = prediction.findings[0]
        others = prediction.findings[1:]
        images = [
            drawn(prediction.picture, finding, names,
                  beside=None if not others else others[0] if finding is first else first)
            for finding in prediction.findings
        ]  # fmt: skip
        content = encoded(side_by_side(images), "JPEG", 90)
        write_whole(folder / file, content, error=FormatError)
        found.append(Predicted.of(prediction, names, file))
    _write(folder, found, models)
    return found


def _file_name(name: str, taken: set[str]) -> str:
    """Return the name of a picture that no other one has, whatever the case of its letters."""
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name)
    stem, number = plain.strip(".")[:100] or "picture", 1
    found = stem
    while found.lower() in taken:
        number += 1
        found = f"{stem}-{number}"
    taken.add(found.lower())
    return f"{found}.jpg"


def _write(folder: Path, found: Sequence[Predicted], models: Sequence[str]) -> None:
    """Write what stands beside the pictures."""
    content = {"models": list(models), "samples": [one.to_data() for one in found]}
    write_whole(folder / PREDICTIONS_FILE, json_bytes(content), error=FormatError)
    write_whole(folder / TABLE_FILE, _table(found, models).encode(), error=FormatError)
    write_whole(folder / INDEX_FILE, _index(found, models).encode(), error=FormatError)


def _table(found: Sequence[Predicted], models: Sequence[str]) -> str:
    """Return a line for everything that was found, comma-separated, with a head line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for one in found:
        for model, rows in zip(models, one.rows, strict=True):
            for row in rows:
                box = row.get("box")
                edges = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)) if isinstance(
                    box, list) else {}  # fmt: skip
                plain = {key: value for key, value in row.items() if key != "box"}
                writer.writerow({"sample": one.name, "model": model, **plain, **edges})
    return text.getvalue()


def _index(found: Sequence[Predicted], models: Sequence[str]) -> str:
    """Return a page with all pictures; of two models, those first in which they disagree most."""
    two = len(models) > 1
    ordered = sorted(found, key=lambda one: -one.disagreement) if two else list(found)
    title = " and ".join(models) or "Pictures"
    about = f"{len(found):,} samples."
    if two:
        different = sum(one.differs for one in found)
        about += (
            f" In {different:,} of them the models tell something else; those in which they "
            "disagree most come first. Left: the first model."
        )
    if len(ordered) > ON_A_PAGE:
        about += f" The first {ON_A_PAGE:,} are shown; all are in the folder."
    figures = "\n".join(_figure(one, models) for one in ordered[:ON_A_PAGE])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style()}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(about)}</p>\n<main>\n{figures}\n</main>\n"
        "</body>\n</html>\n"
    )


def _figure(one: Predicted, models: Sequence[str]) -> str:
    """Return a picture with what was found in it."""
    lines = [
        f"{model}: {text}" if len(models) > 1 else text
        for model, text in zip(models, one.texts, strict=True)
    ]
    told_below = "".join(f"<li>{escape(line)}</li>" for line in lines)
    address = escape(quote(one.file))
    return (
        f'<figure class="shot">\n<figcaption>{escape(one.name)}</figcaption>\n'
        f'<a href="{address}"><img loading="lazy" src="{address}" alt="{escape("; ".join(lines))}">'
        f"</a>\n<ul>{told_below}</ul>\n</figure>"
    )
