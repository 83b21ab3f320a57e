"""The command lines of vai_p_caffe, which was decent_p before.

What they print is what the vendor's pruner prints, where that is known: its summary, its numbers of
operations and weights, and the next command; and below, the same command in secateur's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..usage import UsageError
from . import equivalents
from .gpus import idle_gpus, use_gpus
from .spelling import single_dash
from .table import ruled

if TYPE_CHECKING:
    from secateur import CaffeProject, Network, SummaryRow

    from ..terminal import Terminal

__all__ = ["is_old", "run"]

Given = Mapping[str, str | None]
"""The options of a command line."""

CONFIGURED = ("ana", "prune", "finetune")
"""Commands that take -config."""

MODELLED = ("transform", "stat")
"""Commands that take -model."""

COMMON = {"gpu": True, "quiet": False, "verbose": False, "debug": False}
"""Options that every command takes."""

OPTIONS: Mapping[str, Mapping[str, bool]] = {
    **{name: {"config": True, **COMMON} for name in CONFIGURED},
    "transform": {"model": True, "weights": True, "output": True, **COMMON},
    "stat": {"model": True, "input-shape": True, **COMMON},
}
"""Command → its options, and whether they take a value."""

TRANSFORMED = "transformed.caffemodel"
"""What `transform` writes where nobody says otherwise."""


def is_old(arguments: Sequence[str]) -> bool:
    """Whether a command line is in the old spelling."""
    if not arguments:
        return False
    command, *words = arguments
    if command in CONFIGURED:
        return _names_config(words)
    return command in MODELLED and any(
        word.partition("=")[0] in ("-model", "--model") for word in words
    )


def _names_config(words: Sequence[str]) -> bool:
    """Whether -config stands there, or a --config that is no YAML of ours."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "-config":
            return True
        if name == "--config":
            file = value if equals else "".join(words[place + 1 : place + 2])
            if file.lower().endswith(".prototxt"):
                return True
    return False


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the exit code.

    Raises:
        UsageError: an option is unknown, missing, or lacks its value.
    """
    from ..terminal import Terminal

    command, *words = arguments
    given, rest = single_dash(words, OPTIONS[command])
    if rest:
        raise UsageError(f"nothing takes '{rest[0]}'")
    terminal = Terminal(quiet="quiet" in given, verbose="verbose" in given)
    commands: Mapping[str, Callable[[Terminal, Given, ExitStack], None]] = {
        "ana": _ana, "prune": _prune, "finetune": _finetune,
        "transform": _transform, "stat": _stat,
    }  # fmt: skip
    with ExitStack() as held:
        commands[command](terminal, given, held)
    return 0


def _required(given: Given, name: str) -> Path:
    """Return the value of an option that a command cannot do without.

    Raises:
        UsageError: it is missing.
    """
    value = given.get(name)
    if not value:
        raise UsageError(f"-{name} is missing")
    return Path(value)


def _opened(terminal: Terminal, given: Given, held: ExitStack, *needs: str) -> CaffeProject:
    """Open the config of a command, take its GPUs, and say what of it has no meaning here."""
    import secateur

    project = secateur.open_caffe_project(_required(given, "config"), needs)
    terminal.notes(project.network.notes)
    own = project.config.gpu if "gpu" in project.config.lines else None
    _take_gpus(terminal, given, held, own)
    if project.test_data.samples < project.tested:
        terminal.note(
            f"note: test_iter asks for {project.tested:,} samples, the data has "
            f"{project.test_data.samples:,}: each is measured once"
        )
    return project


def _ana(terminal: Terminal, given: Given, held: ExitStack) -> None:
    """Measure what each group of channels is worth."""
    import secateur

    from ..ana import table_of

    project = _opened(terminal, given, held)
    _, task = project.measure
    terminal.note("Analysis may take a long time...")
    with terminal.bars() as progress:
        analysis, there = secateur.analyze_project(project, progress)
    if there:
        terminal.note("Analysis info found.")
    terminal.note("Analysis completed 100%")
    if analysis.original_value is not None:
        terminal.out.print(
            f"{analysis.metric} {task.text(analysis.original_value)} on {analysis.samples:,} "
            f"samples of {analysis.data}",
            markup=False,
        )
    terminal.out.print(table_of(analysis, task))
    terminal.note(f"wrote {project.analysis_file}")
    _next(terminal, f"secateur prune -config {project.config.path}", equivalents.ana(project))


def _prune(terminal: Terminal, given: Given, held: ExitStack) -> None:
    """Prune at the rate of the config."""
    import secateur

    from .. import words

    project = _opened(terminal, given, held, "rate")
    found = project.analysis_file.exists()
    terminal.note(
        "Analysis info found." if found
        else "No analysis info found: the analysis comes first, and may take a long time..."
    )  # fmt: skip
    terminal.note("Start pruning, please wait...")
    with terminal.bars() as progress:
        pruned = secateur.prune_project(project, progress)
    terminal.note("Compression complete 100%")
    for note in pruned.result.notes:
        terminal.warn(note)
    title = f"summary of REGULAR compression with rate {project.rate:g}:"
    terminal.out.print(title, markup=False)
    terminal.out.print(_summary(pruned.rows), markup=False, soft_wrap=True)
    counts = ", ".join(
        f"{row.item.lower()} {words.count(row.original)} → {words.count(row.compressed)} "
        f"({words.percent(row.delta)})"
        for row in pruned.whole
    )
    terminal.note(f"fully connected layers included: {counts}")
    check = pruned.result.verification
    terminal.note(
        f"masked = dense: {check.difference:.1e} (largest relative difference, "
        f"{check.samples} samples of {check.inputs})"
    )
    for path in project.files:
        terminal.note(f"wrote {path}")
    _next(
        terminal,
        f"secateur finetune -config {project.config.path}",
        equivalents.prune(project, pruned.result.plan),
    )


def _summary(rows: Sequence[SummaryRow]) -> str:
    """Return the vendor's table: the change of the accuracy in points, of others in percent."""
    from .. import words

    lines = [("Item", "Baseline", "Compressed", "Delta")]
    for row in rows:
        if row.relative:
            before, after = words.count(row.original), words.count(row.compressed)
            unit = row.unit.lower()
            lines.append((row.item, before + unit, after + unit, f"{100 * row.delta:+.2f}%"))
        else:
            before, after = f"{row.original:.4f}", f"{row.compressed:.4f}"
            lines.append((row.item, before, after, f"{100 * row.delta:+.2f}%"))
    return ruled(lines)


def _finetune(terminal: Terminal, given: Given, held: ExitStack) -> None:
    """Train the pruned weights by the solver of the config."""
    import secateur

    from ..finetune import table_of, tell_outcome

    project = _opened(terminal, given, held, "rate", "solver")
    with terminal.bars() as progress:
        tuned = secateur.finetune_project(project, progress)
    _, task = project.measure
    result = tuned.result
    for note in result.notes:
        terminal.note(note)
    terminal.out.print(table_of(result, task))
    tell_outcome(terminal, result, task)
    terminal.note(f"wrote {tuned.last}")
    if tuned.best != tuned.last:
        terminal.note(f"wrote {tuned.best}, which is the best")
    _next(
        terminal,
        f"secateur transform -model {project.model} -weights {tuned.best}",
        equivalents.finetune(project),
    )


def _transform(terminal: Terminal, given: Given, held: ExitStack) -> None:
    """Take the zero channels out of trained weights."""
    import secateur

    model, weights = _required(given, "model"), _required(given, "weights")
    output = Path(given.get("output") or TRANSFORMED)
    _take_gpus(terminal, given, held)
    with terminal.bars() as progress:
        made = secateur.transform_model(model, weights, output, progress)
    if made.text != model:
        terminal.note(
            f"note: {model} does not fit the weights, which are of full size: they were read with "
            f"{made.text}"
        )
    for note in made.result.notes:
        terminal.warn(note)
    check = made.result.verification
    by = made.plan if made.plan is not None else "the zeros of the weights"
    terminal.note(f"the channels that left are those of {by}")
    terminal.note(
        f"masked = dense: {check.difference:.1e} (largest relative difference, "
        f"{check.samples} samples of {check.inputs})"
    )
    terminal.note(f"wrote {made.weights}, which goes with {made.net}")
    _next(terminal, None, equivalents.transform(made, weights))


def _take_gpus(
    terminal: Terminal, given: Given, held: ExitStack, stated: str | None = None
) -> None:
    """Run networks on the GPUs that the command line names, or else the config."""
    numbers = given["gpu"] or "" if "gpu" in given else stated
    if numbers is not None:
        use_gpus(terminal, f"gpu {numbers}".strip(), numbers, held)


def _stat(terminal: Terminal, given: Given, _: ExitStack) -> None:
    """Count operations and weights as the vendor does; the text alone is enough."""
    import secateur

    model = _required(given, "model")
    if "gpu" in given:
        idle_gpus(terminal, f"gpu {given['gpu'] or ''}".strip())
    shapes = dict(secateur.stored_shapes(model))
    if given.get("input-shape"):
        shapes |= _input_shape(str(given["input-shape"]))
    network = secateur.load_text(model, input_shapes=shapes)
    terminal.notes(network.notes)
    for line in _counts(network):
        terminal.out.print(line, markup=False, soft_wrap=True)
    _next(terminal, None, equivalents.stat(model, shapes))


def _input_shape(text: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of an input: data=3,224,224.

    Raises:
        UsageError: it is none.
    """
    name, _, sizes = text.partition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 1:
        raise UsageError(f"'{text}' is no shape", flag="-input-shape", hint="data=3,224,224")
    return {name: shape}


def _counts(network: Network) -> list[str]:
    """Return the operations and weights of every layer that counts, and the sums."""
    import secateur

    lines, operations, weights = [], 0, 0
    for info, counted in zip(network.layers, secateur.pruner_counts(network), strict=True):
        if counted.operations:
            lines.append(f"{info.type} layer {info.name} ops: {counted.operations}")
        if counted.weights:
            lines.append(f"{info.type} layer {info.name} params: {counted.weights}")
        operations, weights = operations + counted.operations, weights + counted.weights
    return [*lines, f"Total operations: {operations}", f"Total params: {weights}"]


def _next(terminal: Terminal, command: str | None, own: Sequence[str]) -> None:
    """Print the next command, and what this one is called in secateur's own words."""
    import shlex

    if command is not None:
        terminal.note(f"next: {command}")
    if own:
        terminal.note(f"the same in secateur's own words: {shlex.join(own)}")
