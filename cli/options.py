"""Options that several commands share, with the words of their help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from . import config
from .terminal import Terminal

MODEL = "Model"
DATA = "Data"
CHOICE = "Choice"
SCREEN = "Screen"

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="The model: .prototxt and .caffemodel, .cfg and .weights, or .onnx, in any order.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", help="Directory, or a file that names the output itself."),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Images or .npz for proofs and measurements.", rich_help_panel=DATA),
]


def _list_repairs(names: str) -> str:
    """Print all repairs where the name is "help", before anything else is asked for."""
    if names != "help":
        return names
    from ..core.repair import REPAIRS
    from ..core.repair.registry import AUTOMATIC

    typer.echo(f"{'auto':<13}{', '.join(AUTOMATIC)}: each kept where it helps")
    typer.echo(f"{'none':<13}nothing")
    for entry in REPAIRS.values():
        typer.echo(f"{entry.name:<13}{entry.summary} ({entry.source})")
    free = ", ".join(entry.name for entry in REPAIRS.values() if not entry.needs_data)
    typer.echo(f"All but {free} need --data.")
    raise typer.Exit


Repair = Annotated[
    str,
    typer.Option(
        metavar="auto|none|NAMES|help",
        callback=_list_repairs,
        is_eager=True,
        help="What makes up for the loss; names with commas; kept where it helps.",
    ),
]
NoRepair = Annotated[bool, typer.Option("--no-repair", help="The same as --repair none.")]
Companion = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Another prototxt or cfg of the same layers, to be changed alike (repeatable).",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print results and errors only.", rich_help_panel=SCREEN),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print notes of the reader.", rich_help_panel=SCREEN)
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show a traceback where something fails.", rich_help_panel=SCREEN),
]
Flavour = Annotated[
    str,
    typer.Option(
        metavar="auto|alexeyab|pjreddie", help="Darknet: whose arithmetic.", rich_help_panel=MODEL
    ),
]
Partial = Annotated[
    bool,
    typer.Option(
        "--partial", help="Darknet: accept weights that end early.", rich_help_panel=MODEL
    ),
]
ResetSeen = Annotated[
    bool,
    typer.Option(
        "--reset-seen",
        help="Darknet: write weights that saw no image yet, for fine-tuning.",
        rich_help_panel=MODEL,
    ),
]
Phase = Annotated[
    str, typer.Option(metavar="TEST|TRAIN", help="Caffe: the net's phase.", rich_help_panel=MODEL)
]
Stage = Annotated[
    list[str] | None,
    typer.Option(
        "--stage",
        "--stages",
        metavar="NAME",
        help="Caffe: a stage of the net (may be repeated).",
        rich_help_panel=MODEL,
    ),
]
Level = Annotated[int, typer.Option(help="Caffe: the net's level.", rich_help_panel=MODEL)]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=C,H,W",
        help="Caffe: shape of an input that the prototxt leaves open.",
        rich_help_panel=MODEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="V[,V,V]",
        help="Images: subtract this, one number or one a channel.",
        rich_help_panel=DATA,
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(help="Images: multiply by this after --mean.", rich_help_panel=DATA),
]
Channels = Annotated[
    str | None,
    typer.Option(metavar="bgr|rgb|gray", help="Images: channel order.", rich_help_panel=DATA),
]
Letterbox = Annotated[
    bool | None,
    typer.Option(
        "--letterbox/--stretch",
        help="Images: keep the aspect ratio, or not.",
        rich_help_panel=DATA,
    ),
]
MeanFile = Annotated[
    Path | None,
    typer.Option(help="Images: subtract this image (.binaryproto or .npy).", rich_help_panel=DATA),
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="SIDE|H,W",
        help="Images: resize the short side, or to this, and cut the centre out.",
        rich_help_panel=DATA,
    ),
]
Crop = Annotated[
    bool,
    typer.Option(
        "--crop", help="Images: cut the centre out without resizing.", rich_help_panel=DATA
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(help="Folder that paths in lists start from.", rich_help_panel=DATA),
]
Names = Annotated[
    Path | None,
    typer.Option(help="File with the names of the classes in order.", rich_help_panel=DATA),
]
IgnoreLabel = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="CLASS",
        help="Maps of classes: pixels of this one do not count.",
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Use only so many samples.", rich_help_panel=DATA),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFlags:
    """How samples are read and made into inputs; every command with --data takes all of these."""

    mean: Mean = None
    mean_file: MeanFile = None
    scale: Scale = None
    channels: Channels = None
    letterbox: Letterbox = None
    resize: Resize = None
    crop: Crop = False
    root: Root = None
    names: Names = None
    ignore_label: IgnoreLabel = None
    limit: Limit = None


AS_USUAL = DataFlags()
"""Read as the network and the data say."""


Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Samples a batch; measured if not given.", rich_help_panel=DATA),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def list_criteria(name: str) -> str:
    """Print all criteria where the name is "help", before anything else is asked for."""
    if name != "help":
        return name
    import secateur

    typer.echo("auto        obs where --data is given, else l1")
    typer.echo("obs         least loss of the network's outputs per operation, others compensate")
    for entry in sorted(secateur.CRITERIA.values(), key=lambda entry: entry.name):
        typer.echo(f"{entry.name:<12}{entry.summary} ({entry.source})")
    raise typer.Exit


def list_allocations(name: str) -> str:
    """Print all allocations where the name is "help", before anything else is asked for."""
    if name != "help":
        return name
    import secateur

    typer.echo("auto         threshold or sensitivity with --analysis, global for obs,")
    typer.echo("             uniform for other criteria")
    for entry in sorted(secateur.ALLOCATIONS.values(), key=lambda entry: entry.name):
        typer.echo(f"{entry.name:<13}{entry.summary}")
        typer.echo(f"{'':<13}({entry.source})")
    raise typer.Exit


Criterion = Annotated[
    str,
    typer.Option(
        metavar="NAME|help",
        callback=list_criteria,
        is_eager=True,
        help="What says which channels leave first.",
        rich_help_panel=CHOICE,
    ),
]
Allocation = Annotated[
    str,
    typer.Option(
        metavar="NAME|help",
        callback=list_allocations,
        is_eager=True,
        help="What says how many leave each group.",
        rich_help_panel=CHOICE,
    ),
]
Budget = Annotated[
    str,
    typer.Option(
        metavar="UNIT",
        help="What a rate is a fraction of: operations, parameters or latency.",
        rich_help_panel=CHOICE,
    ),
]
Latencies = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="For --budget latency: layer: milliseconds as YAML, or a plan that holds them; "
        "measured here if not given.",
        rich_help_panel=CHOICE,
    ),
]
LayerRate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=R",
        help="Share of its channels that this layer loses (repeatable).",
        rich_help_panel=CHOICE,
    ),
]
LayerThreshold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=LOSS",
        help="Loss that this layer bears (repeatable, needs --analysis).",
        rich_help_panel=CHOICE,
    ),
]
RoundTo = Annotated[
    int,
    typer.Option(min=1, metavar="K", help="Keep a multiple of K channels.", rich_help_panel=CHOICE),
]
MaxRate = Annotated[
    float,
    typer.Option(min=0.01, max=1.0, help="Largest share a group may lose.", rich_help_panel=CHOICE),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYER",
        help="Keep all channels of a layer (may be repeated).",
        rich_help_panel=CHOICE,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        callback=config.read,
        is_eager=True,
        help="YAML with long names of options as keys; the command line wins.",
    ),
]


def overrides(
    context: typer.Context, rates: list[str] | None, thresholds: list[str] | None
) -> dict[str, Any]:
    """Return layer → override, those of the command line in place of those of the config file.

    Raises:
        typer.BadParameter: a text has another form than NAME=VALUE, or a layer is named twice.
        PlanError: a value is out of range.
    """
    from ..core.allocation import Override

    found: dict[str, Any] = {}
    for option, key, texts in (
        ("--layer-rate", "rate", rates),
        ("--layer-threshold", "threshold", thresholds),
    ):
        for text in texts or ():
            name, equals, value = text.rpartition("=")
            if not equals or not name:
                raise typer.BadParameter(f"'{text}' is not NAME=VALUE", param_hint=option)
            if name in found:
                raise typer.BadParameter(f"'{name}' stands there twice", param_hint=option)
            found[name] = Override(**{key: numbers(value, option)[0]})
    return {**config.layers(context), **found}


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Return the numbers of a comma-separated list.

    Raises:
        typer.BadParameter: an entry is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of numbers", param_hint=option) from None


def input_shapes(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    """Return input name → C, H, W from `NAME=C,H,W` texts.

    Raises:
        typer.BadParameter: a text has another form.
    """
    shapes = {}
    for text in texts or []:
        name, _, sizes = text.rpartition("=")
        parts = sizes.split(",")
        if not name or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            raise typer.BadParameter(f"'{text}' is not NAME=C,H,W", param_hint="--input-shape")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


@dataclass(frozen=True, slots=True)
class ModelFlags:
    """How the files of a model are read."""

    flavour: Flavour = "auto"
    partial: Partial = False
    phase: Phase = "TEST"
    stage: Stage = None
    level: Level = 0
    input_shape: InputShape = None

    def settings(self) -> dict[str, Any]:
        """Return the settings of :func:`secateur.load`.

        Raises:
            typer.BadParameter: a shape has another form than NAME=C,H,W.
        """
        return {
            "flavour": self.flavour,
            "partial": self.partial,
            "phase": self.phase.upper(),
            "stages": tuple(self.stage or ()),
            "level": self.level,
            "input_shapes": input_shapes(self.input_shape),
        }


MODEL_AS_USUAL = ModelFlags()


@dataclass(frozen=True, slots=True)
class ScreenFlags:
    """How much is printed; `debug` is read by :mod:`.main`."""

    quiet: Quiet = False
    verbose: Verbose = False
    debug: Debug = False

    def terminal(self) -> Terminal:
        """Return what the command prints with."""
        return Terminal(quiet=self.quiet, verbose=self.verbose)


SCREEN_AS_USUAL = ScreenFlags()
