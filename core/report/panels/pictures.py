"""The samples in which both models disagree most, side by side."""

from __future__ import annotations

from ...pictures.drawing import drawn, encoded
from ...pictures.examples import Example, Examples
from ...pictures.findings import Classes, Finding, class_name
from ..blocks import Block, Gallery, Panel, Paragraph, Shot
from ..facts import ReportFacts

__all__ = ["panel"]

SIDE = 480
"""Pixels of the longer side of a picture."""

WHAT = {
    "classes": "the best class is another",
    "boxes": "a box has no partner of its class",
    "map": "more than one pixel of a hundred has another class",
}
"""When people would be told something else, by the kind of the findings."""


def panel(facts: ReportFacts) -> Panel | None:
    """Return the pictures; None where none were looked for."""
    found = facts.examples
    if found is None or not found.examples:
        return None
    about = (
        f"In {found.changed:,} of {found.samples:,} samples {WHAT[found.kind]}. Those in which "
        "the models disagree most come first."
    )
    if found.kind == "boxes":
        about += " Thin boxes are found by both models."
    blocks: list[Block] = [Paragraph(about)]
    blocks += [_gallery(found, example) for example in found.examples]
    return Panel(name="pictures", title="Where they disagree most", blocks=blocks)


def _gallery(found: Examples, example: Example) -> Gallery:
    told = ""
    if example.label is not None:
        told = f", labelled {class_name(example.label, found.names)}"
    return Gallery(
        caption=f"{example.name}{told}",
        shots=(
            _shot(found, example, "Before", example.before),
            _shot(found, example, "After", example.after),
        ),
    )


def _shot(found: Examples, example: Example, title: str, finding: Finding) -> Shot:
    other = example.after if finding is example.before else example.before
    image = drawn(example.picture, finding, found.names, beside=other, largest=SIDE)
    lines: tuple[str, ...] = (finding.text(found.names),)
    if isinstance(finding, Classes):
        lines = tuple(
            f"{class_name(number, found.names)}: {100 * share:.1f} %"
            for number, share in finding.best[:3]
        )
    return Shot(
        title=title, content=encoded(image), width=image.width, height=image.height,
        alt=f"{title}: {finding.text(found.names)}", lines=lines,
    )  # fmt: skip
