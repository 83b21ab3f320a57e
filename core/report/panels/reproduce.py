"""How all this is done again."""

from __future__ import annotations

import platform
import shlex
from importlib.metadata import PackageNotFoundError, version

from ....version import __version__
from ...ir.digest import digest
from ...markup import Table
from ...words import size_text
from ..blocks import Block, Code, Panel
from ..facts import ReportFacts

__all__ = ["folded", "panel"]

PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "opencv-python-headless")
"""What the figures of a report depend on."""

LETTERS = 88
"""Letters of a line of a command at most."""


def panel(facts: ReportFacts) -> Panel:
    """Return commands, versions and files."""
    blocks: list[Block] = []
    if facts.command:
        blocks.append(Code("What was run", folded(facts.command)))
    blocks += [Code(title, text) for title, text in facts.texts.items()]
    plan = next((path for path in facts.files if path.suffix == ".yaml"), None)
    source = facts.network.source
    if plan is not None and source is not None:
        files = shlex.join(str(path) for path in source.paths.values())
        again = f"secateur transform {files} --plan {shlex.quote(str(plan))} -o again/"
        blocks.append(
            Code("The same channels by the plan alone, without the repairs", folded(again))
        )
    made = [("secateur", __version__), ("Python", platform.python_version())]
    made += [(name, found) for name in PACKAGES if (found := _version(name))]
    blocks.append(
        Table(
            caption="Made with",
            columns=("What", "Version"),
            rows=[*made, ("SHA-256 of the model before begins", digest(facts.network)[:16])],
        )
    )
    if facts.files:
        rows = [(str(path), size_text(path.stat().st_size)) for path in facts.files]
        blocks.append(
            Table(caption="Files that were written", columns=("File", "Size"), rows=rows,
                  numeric=(1,))
        )  # fmt: skip
    return Panel(name="again", title="Do it again", blocks=blocks)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def folded(command: str) -> str:
    """Return a command in lines that a shell takes as one; one that is no command as it is."""
    if len(command) <= LETTERS:
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1].strip() and len(lines[-1]) + len(word) >= LETTERS:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
