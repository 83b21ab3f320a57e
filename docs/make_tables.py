"""Writes docs/layers.md, and the table of docs/targets.md: `python docs/make_tables.py [--check]`.

Names, fields, defaults and blobs come from the classes. Whether channels can go through a layer is
not declared anywhere: the network around the layer's example is traced, and asked.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from secateur.core.coupling import find_groups  # noqa: E402
from secateur.formats.adapter import REQUIRED, Example, Handling, keys_of  # noqa: E402
from secateur.formats.target_files import find_target, target_names  # noqa: E402
from support.contract.example_networks import Files, caffe_files, darknet_files_of  # noqa: E402
from support.contract.registries import LAYER_TYPES, SECTION_NAMES  # noqa: E402

PAGE = ROOT / "docs" / "layers.md"

TARGETS = ROOT / "docs" / "targets.md"

BORDERS = ("<!-- targets: made by docs/make_tables.py -->\n", "<!-- end of targets -->")
"""What stands before and behind the table of targets."""

CHANNELS: Mapping[Handling, str] = {
    Handling.INPUT: "no input: makes a blob, whose channels are kept",
    Handling.HEAD: "a head: the channels it reads are kept",
    Handling.DECODED: "decodes answers: its inputs become outputs, whose channels are kept",
    Handling.BORDER: "cannot be computed: what it reads becomes outputs, whose channels are kept; "
    "what it makes becomes inputs where layers with weights need it",
    Handling.TRAINING: "for training: left out where there are no labels, and kept in the file",
    Handling.LEFT_OUT: "for training: left out of the graph, and kept in the file",
}
"""What pruning can do with a layer that is no part of what is pruned."""

REFUSED: Mapping[str, Mapping[str, str]] = {
    "caffe": {
        "alias_reshape_inplace": "an in-place layer on the top of a Reshape, Flatten or Split: "
        "Caffe would change the other top, too",
    },
    "darknet": {
        "conv_1x1_stride_y": "1×1 convolution with stride_x=1 and another stride_y: AlexeyAB's "
        "Darknet ignores it on a CPU",
        "conv_xnor": "xnor=1: weights and inputs are binarised",
        "partial_boundary": "weights that end between two sections; `--partial` reads them",
        "rnn_pjreddie": "[rnn] remembers earlier inputs",
        "rnn_alexeyab": "[rnn] remembers earlier inputs",
        "gru_pjreddie": "[gru] remembers earlier inputs",
        "gru_alexeyab": "[gru] remembers earlier inputs",
        "lstm_pjreddie": "[lstm] remembers earlier inputs",
        "lstm_alexeyab": "[lstm] remembers earlier inputs",
        "crnn": "[crnn] remembers earlier inputs",
    },
}
"""Reference cases that load in the framework and are refused here, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a format has: its classes by name, and how the files around an example are written."""

    classes: Mapping[str, type[Any]]
    files: Callable[[Path, str, Any], Files]
    field: str


FORMATS = {
    "caffe": Format(classes=LAYER_TYPES, files=caffe_files, field="field"),
    "darknet": Format(classes=SECTION_NAMES, files=darknet_files_of, field="key"),
}


def page() -> str:
    """Return the whole page."""
    lines = [
        "# Supported layers",
        "",
        "Written by `make tables` from the layer declarations; do not edit.",
        "",
        "*Channels* tells what pruning can do. It was asked of a small network: two convolutions, "
        "the layer with the settings of an ordinary file (its `example`), and a fully connected "
        "layer. *Pass* means that channels of the layer before can be removed through it.",
        "",
        "## Caffe",
        "",
        "A type that is not listed is refused, unless it reads labels: losses and scores of forks "
        "are left out of the graph, with a warning, and kept in the file. `--opaque TYPE` keeps "
        "any layer as it is ([layers that cannot be computed]"
        "(workflows/caffe.md#layers-that-cannot-be-computed)). Fields that a fork added "
        "to one of Caffe's own messages and that are not listed are kept and warned of, since the "
        "fork may compute something else.",
        "",
        *_tables(FORMATS["caffe"]),
        "## Darknet",
        "",
        *_tables(FORMATS["darknet"]),
        "## Refused on purpose",
        "",
        "Cases of the reference collection that the frameworks load, and secateur does not:",
        "",
    ]
    for folder, cases in REFUSED.items():
        lines += [f"* {folder}: `{name}`: {reason}" for name, reason in cases.items()]
    return "\n".join(lines) + "\n"


def _tables(format_: Format) -> Iterator[str]:
    classes: dict[type[Any], list[str]] = {}
    for name, cls in format_.classes.items():
        classes.setdefault(cls, []).append(name)
    for cls, names in sorted(classes.items(), key=lambda item: item[1][0].lower()):
        module = cls.__module__.removeprefix("secateur.").replace(".", "/")
        yield f"### {', '.join(names)}"
        yield ""
        yield f"{_first_sentence(cls)} ([{module.rpartition('/')[2]}.py](../{module}.py))"
        yield ""
        yield f"Channels: {channels(names[0], cls.example, format_)}."
        yield ""
        rows = [_field(name, field, declared) for name, (field, declared) in keys_of(cls).items()]
        if rows:
            yield f"| {format_.field} | default | meaning |"
            yield "|---|---|---|"
            yield from rows
            yield ""
        if cls.blobs:
            yield "Stored, in this order: " + "; ".join(map(_blob, cls.blobs)) + "."
            yield ""


def _first_sentence(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


def _field(name: str, field: dataclasses.Field[Any], declared: Any) -> str:
    names = ", ".join(f"`{known.lstrip('/')}`" for known in declared.names or (name,))
    default = "required" if field.default is REQUIRED else f"`{_shown(field.default)}`"
    if field.default in ((), "", None):
        default = "–"
    meaning = [declared.doc] if declared.doc else []
    if declared.choices:
        meaning.append(" or ".join(declared.choices))
    if declared.channels:
        meaning.append("*changed by pruning*")
    return f"| {names} | {default} | {'; '.join(meaning).replace('|', chr(92) + '|')} |"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _blob(blob: Any) -> str:
    when = f", where `{blob.when}`" if blob.when else ""
    doc = f" ({blob.doc})" if blob.doc else ""
    return f"{blob.name} [{blob.axes.replace(' ', ', ')}]{when}{doc}"


def channels(name: str, example: Example, format_: Format) -> str:
    """Return what pruning can do with a layer of type `name`."""
    if example.handling is Handling.REFUSED:
        return f"refused: {example.note}"
    if example.note or example.handling is not Handling.COMPUTED:
        return example.note or CHANNELS[example.handling]
    with tempfile.TemporaryDirectory() as folder:
        files = format_.files(Path(folder), name, example)
        groups = find_groups(files.load())
    found = []
    group = next(group for group in groups.groups if files.before in group.layers)
    found.append("pass" if group.prunable else f"the layer before keeps its own ({group.reason})")
    makers = [group for group in groups.groups if files.layer in group.layers]
    own = [other for other in makers if other is not group]
    if own:
        found.append("its own can be removed" if own[0].prunable else f"its own: {own[0].reason}")
    if group.prunable and not own and makers:
        found.append("together with its own")
    return "; ".join(found)


def main(arguments: Iterable[str]) -> int:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where the page is stale")
    check = parser.parse_args(list(arguments)).check
    stale = False
    for path, text in ((PAGE, page()), (TARGETS, targets_page())):
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"docs/{path.name} is stale: run `make tables`\n")
            stale = True
    return int(stale)


def targets_page() -> str:
    """Return the page of targets with its table."""
    before, _, rest = TARGETS.read_text(encoding="utf-8").partition(BORDERS[0])
    lines = ["", "| target | ICP | OCP | what it is | what reads it |", "|---|---|---|---|---|"]
    for target in map(find_target, target_names()):
        blocks = " | ".join(str(each) if each > 1 else "–" for each in target.blocks)
        readers = "<br>".join(f"{name}: {text}" for name, text in target.readers.items())
        lines.append(f"| `{target.name}` | {blocks} | {target.summary} | {readers} |")
    return (
        before + BORDERS[0] + "\n".join(lines) + "\n\n" + BORDERS[1] + rest.partition(BORDERS[1])[2]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
