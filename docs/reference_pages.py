"""Makes the reference of the site when it is built: `mkdocs build` calls the functions `on_…`.

Command pages are the output of `secateur COMMAND --help-all`, the page of choices that of
`--criterion help` and its like. The Python page lists the names of `__init__.pyi`, and mkdocstrings
fills in their docstrings. Messages are the texts with which the code raises errors. None of these
pages is a file of `docs/`, so none can be stale.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ("__init__.py", "__init__.pyi", "version.py", "cli", "core", "formats", "proto",
           "workflows")  # fmt: skip
LINKED = ROOT / "build" / "docs" / "secateur"
"""Where mkdocstrings finds the package: it does not follow an editable install."""

COMMANDS = "reference/commands"
ALL = "--help-all"
CHOICES = {
    "Criteria": ("prune", "--criterion", "help"),
    "Allocations": ("prune", "--allocation", "help"),
    "Repairs": ("prune", "--repair", "help"),
    "Budgets": ("prune", "--budget", "help"),
    "Targets": ("prune", "--target", "help"),
    "Schedules of masks": ("finetune", "--sparsify", "help"),
    "Tasks": ("prune", "--task", "help"),
}
SUBJECTS: Mapping[str, str] = {
    "formats": "Load and save",
    "core.coupling": "Channel groups",
    "core.pruning": "Prune",
    "workflows.rounds": "Prune",
    "core.repair": "Prune",
    "core.blocks": "Residual blocks",
    "core.recovery": "Residual blocks",
    "core.study": "Studies",
    "workflows.studying": "Studies",
    "core.finetune": "Train",
    "core.training": "Train",
    "workflows.finetuning": "Train",
    "workflows.emitting": "Train",
    "workflows.board": "Train",
    "workflows.pipeline": "Pipelines",
    "cli.pipeline_file": "Pipelines",
    "workflows.caffe_pruner": "The vendor's pruners",
    "workflows.darknet_pruner": "The vendor's pruners",
    "core.plan": "Plans and limits",
    "core.allocation": "Plans and limits",
    "core.criteria": "Plans and limits",
    "core.sensitivity": "Sensitivity analysis",
    "core.data": "Data",
    "workflows.datasets": "Data",
    "workflows.preprocessing": "Data",
    "core.evaluation": "Measure",
    "workflows.measures": "Measure",
    "core.verify": "Compare",
    "core.difference": "Compare",
    "core.pictures": "Reports and pictures",
    "core.report": "Reports and pictures",
    "core.words": "Reports and pictures",
    "workflows.predicting": "Reports and pictures",
    "core.cost": "Cost and latency",
    "workflows.engines": "Cost and latency",
    "workflows.layer_export": "Cost and latency",
    "core.engine": "Run",
    "core.ir": "The network",
    "core.progress": "Progress",
    "core.errors": "Errors",
}
"""Beginning of a module's name → heading."""

ERRORS = frozenset(
    [
        "FormatError",
        "UnsupportedError",
        "PlanError",
        "DataError",
        "VerificationError",
        "BadParameter",
    ]
)
HELPERS = frozenset({"bad", "error"})
"""Functions of `formats/` that make an error of a text."""

PARTS: Mapping[str, str] = {
    "formats/caffe/layers": "Caffe layers",
    "formats/caffe/data": "Caffe data",
    "formats/caffe": "Caffe files",
    "formats/darknet/sections": "Darknet sections",
    "formats/darknet/data": "Darknet data",
    "formats/darknet": "Darknet files",
    "formats/onnx": "ONNX files",
    "formats": "Finding and writing files",
    "core/data": "Data",
    "workflows": "Data and rounds",
    "cli": "Command line and config files",
    "core": "Networks, plans and options",
}
"""Folder → heading of its messages; the first that fits counts."""

HOLE = "…"
UPWARD = re.compile(r"\[([^\]]+)\]\((\.\./[^)]*)\)")
ROLE = re.compile(r":(?:py:)?(?:func|class|mod|meth|data|attr|exc):(?=<code>)")


@functools.cache
def output(*arguments: str, columns: int = 80) -> str:
    """Return what `secateur ARGUMENTS…` prints.

    Raises:
        subprocess.CalledProcessError: the program does not end with 0.
    """
    program = Path(sys.executable).parent / "secateur"
    result = subprocess.run(  # noqa: S603
        [program, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "dumb"},
    )
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    return "\n".join(lines).strip("\n")


@functools.cache
def commands() -> Sequence[tuple[str, ...]]:
    """Return all commands, with those of command groups: `("prune",)`, `("data", "check")`."""
    return tuple(_commands(()))


def _commands(above: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the commands whose names begin lines of the help of `above`, and those below them.

    Help pages differ from one command-line library to the next. So the first word of every line is
    tried: it is a command where `--help` behind it answers, and says something else than before.
    """
    text = output(*above, "--help", columns=200)
    found: list[tuple[str, ...]] = []
    for word in dict.fromkeys(re.findall(r"^[^\w\-\n]*([a-z][a-z-]+)\b", text, re.MULTILINE)):
        name = (*above, word)
        try:
            if output(*name, "--help", columns=200) == text:
                continue
        except subprocess.CalledProcessError:
            continue
        below = _commands(name) if len(name) == 1 else []
        found += below or [name]
    return found


@functools.cache
def other_names() -> Mapping[str, str]:
    """Return further names of commands → the first one, as the help lists them on one line."""
    lines = re.findall(
        r"^\W*([a-z-]+(?:, [a-z-]+)+)\s", output("--help", columns=200), re.MULTILINE
    )
    names = [line.split(", ") for line in lines]
    return {other: first for first, *others in names for other in others}


def flags(name: tuple[str, ...]) -> set[str]:
    """Return the flags that the help of a command names."""
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", output(*name, ALL, columns=200)))


def public_names() -> dict[str, list[str]]:
    """Return heading → public names, in the order of `SUBJECTS`, from `__init__.pyi`.

    A name that is also a module's is given in full: `core.sensitivity.analyze.analyze`.

    Raises:
        LookupError: a module has no heading.
    """
    found: dict[str, list[str]] = {heading: [] for heading in SUBJECTS.values()}
    for node in ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        module = node.module
        if module == "version":
            continue
        known = (title for start, title in SUBJECTS.items() if f"{module}.".startswith(f"{start}."))
        heading = next(known, None)
        if heading is None:
            raise LookupError(f"SUBJECTS has no heading for {module}")
        for name in (alias.name for alias in node.names):
            module_alike = (ROOT / module.replace(".", "/") / f"{name}.py").is_file()
            full = f"{module}.{name}.{name}" if module_alike else name
            found[heading].append(full)
    return {heading: names for heading, names in found.items() if names}


def messages() -> dict[str, list[str]]:
    """Return heading → every text with which the code raises an error, once; `…` for its values.

    Texts that a variable holds are left out.
    """
    found: dict[str, dict[str, None]] = {heading: {} for heading in PARTS.values()}
    for top in ("core", "formats", "workflows", "cli"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            heading = next(title for start, title in PARTS.items() if name.startswith(f"{start}/"))
            makers = ERRORS | HELPERS if top == "formats" else ERRORS
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and _called(node) in makers and node.args:
                    found[heading].update(dict.fromkeys(_texts(node.args[0])))
    return {
        heading: [text for text in texts if re.search(r"[a-z]{2}", text)]
        for heading, texts in found.items()
    }


def _called(node: ast.Call) -> str:
    called = node.func
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _texts(node: ast.expr) -> list[str]:
    """Return what an expression may say, with `…` for what is not known."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            joined = [""]
            for part in parts:
                value = part.value if isinstance(part, ast.FormattedValue) else part
                ends = _texts(value) if isinstance(value, ast.Constant | ast.IfExp) else [HOLE]
                joined = [text + end for text in joined for end in ends]
            return joined
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [start + end for start in _texts(left) for end in _texts(right)]
        case ast.IfExp(body=body, orelse=other):
            return _texts(body) + _texts(other)
    return [HOLE]


def pages() -> dict[str, str]:
    """Return path below docs/ → Markdown of every page that is made."""
    made = {f"{COMMANDS}/{'-'.join(name)}.md": _command_page(name) for name in commands()}
    made["reference/choices.md"] = _choices_page()
    made["reference/python.md"] = _python_page()
    made["reference/messages.md"] = _messages_page()
    return made


def notebooks() -> dict[str, str]:
    """Return the pages of notebooks: path → Markdown, with the outputs that they hold."""
    found = sorted((ROOT / "docs").glob("*.ipynb"))
    return {path.with_suffix(".md").name: _notebook_page(path) for path in found}


def _notebook_page(path: Path) -> str:
    """Return a notebook as a page: links lead on from it as from any other."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += map(_shown, cell["outputs"])
    title, *rest = parts
    heading, _, text = title.partition("\n")
    about = f"This page is a notebook: [{path.name}]({path.name}) runs in Jupyter."
    return "\n\n".join([heading, about, text.strip(), *rest]) + "\n"


def _shown(output: Mapping[str, Any]) -> str:
    """Return an output of a cell as Markdown: a table as it is, else its text."""
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div class="output">\n{"".join(data["text/html"])}\n</div>'
    return f"```text\n{''.join(output.get('text', data.get('text/plain', ''))).rstrip()}\n```"


def _command_page(name: tuple[str, ...]) -> str:
    title = " ".join(("secateur", *name))
    return f"# {title}\n\n```text\n{output(*name, ALL)}\n```\n"


def _choices_page() -> str:
    parts = [
        "# Choices\n\nThe values of flags that take a name. [Criteria](../criteria.md), "
        "[Allocation](../allocation.md), [Targets](../targets.md), [Repair](../repair.md), "
        "[Fine-tuning](../workflows/finetune.md) and [Data](../data.md) say more of them.\n"
    ]
    for title, arguments in CHOICES.items():
        shown = " ".join(("secateur", *arguments))
        parts.append(f"## {title}\n\n```text\n$ {shown}\n{output(*arguments)}\n```\n")
    return "\n".join(parts)


def _python_page() -> str:
    parts = [
        "# Python\n\nEvery public name of `secateur`. [From Python](../workflows/python.md) shows "
        "how they work together.\n"
    ]
    for heading, names in public_names().items():
        parts.append(f"## {heading}\n")
        parts += [f"::: secateur.{name}\n" for name in names]
    return "\n".join(parts)


def _messages_page() -> str:
    parts = [
        "# Messages\n\nEvery text of an error, with `…` in place of names and numbers. "
        "[Troubleshooting](../troubleshooting.md) says what to do.\n"
    ]
    for heading, texts in messages().items():
        if texts:
            parts.append(f"## {heading}\n")
            parts.append("\n".join(f"* `{text}`" for text in sorted(texts, key=str.lower)) + "\n")
    return "\n".join(parts)


def on_startup(*, command: str, dirty: bool) -> None:  # noqa: ARG001
    """Make a folder in which `secateur` is this checkout, and nothing but the package."""
    LINKED.mkdir(parents=True, exist_ok=True)
    for name in PACKAGE:
        link = LINKED / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)


def on_config(config: Any) -> Any:
    """Put a page for every command where the navigation says `reference/commands`."""

    def filled(entry: Any) -> Any:
        if isinstance(entry, list):
            return [filled(part) for part in entry]
        if isinstance(entry, dict):
            return {title: filled(part) for title, part in entry.items()}
        if entry == COMMANDS:
            return [{" ".join(name): f"{COMMANDS}/{'-'.join(name)}.md"} for name in commands()]
        return entry

    config.nav = filled(config.nav)
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for path, text in {**pages(), **notebooks()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Keep only the text of links that lead out of docs/, into the code: the site has no code."""
    folder = posixpath.dirname(page.file.src_uri)

    def inside(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        return match[1] if target.startswith("../") else match[0]

    return UPWARD.sub(inside, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Drop the names of Sphinx' roles, which docstrings use."""
    return ROLE.sub("", html)
