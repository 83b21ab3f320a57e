"""`pruner stat`, `map` and `valid`: counting and measuring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .. import quality
from .darknet import Words
from .darknet_detections import write_detections
from .darknet_session import Session, begin, say_same, screen_of

if TYPE_CHECKING:
    from secateur import Dataset, Description, Network


def run_stat(words: Words) -> int:
    """Count operations and parameters of a cfg, in the vendor's lines.

    Raises:
        SecateurError: the cfg is broken.
    """
    import secateur

    terminal = screen_of(words)
    given = Path(words.files[0])
    path = given
    if secateur.is_pruning_cfg(given):
        project = secateur.open_darknet_project(given)
        for note in project.notes:
            terminal.warn(note)
        path = project.section.modelcfg
    elif not given.exists() and len(given.parts) == 1:
        below = sorted(Path().glob(f"*/{given.name}"))  # the vendor's guide leaves out the folder
        if len(below) == 1:
            path = below[0]
            terminal.note(f"note: {given} is {path}")
    description = secateur.describe(secateur.load_text(path))
    terminal.notes(description.notes)
    for line in counts(description):
        terminal.out.print(line, markup=False, soft_wrap=True)
    say_same(terminal, ["stat", path])
    return 0


def counts(description: Description) -> Iterator[str]:
    """Yield the vendor's lines on operations and parameters, layer by layer and in total.

    Operations are 2 · multiply-accumulates + one addition of a bias an output. Parameters are
    weights and biases: batch normalization is taken to be merged. Source: the figures of layers 104
    and 105 in UG1333, "Transforming a Model", which follow from this.
    """
    operations = parameters = 0
    for place, row in enumerate(description.layers):
        cost = description.cost.layers[place]
        if not cost.macs or row.shape is None:
            continue
        _, channels, *size = (int(side) if isinstance(side, int) else 1 for side in row.shape)
        positions = 1
        for side in size:
            positions *= side
        stored = cost.macs // positions + channels
        yield f"layer {row.name}, ops:{cost.operations}"
        yield f"layer {row.name}, params:{stored}"
        operations += cost.operations
        parameters += stored
    yield f"Total operations: {operations}"
    yield f"Total params: {parameters}"


def run_map(words: Words) -> int:
    """Measure a network by valid=.

    Raises:
        SecateurError: a file is broken, or the data does not fit.
    """
    _measure(*_opened(words))
    return 0


def run_valid(words: Words) -> int:
    """Measure a network by valid=, and write what a detector finds, as Darknet's `valid` does.

    Raises:
        SecateurError: a file is broken, or the data does not fit.
    """
    session, network, weights = _opened(words)
    if network.heads:
        session.project.check_written("results")
        session.terminal.note(f"wrote {write_detections(session, network)}")
    else:
        session.terminal.note("note: this is no detector: no detections are written")
    _measure(session, network, weights)
    return 0


def _opened(words: Words) -> tuple[Session, Network, Path]:
    """Return the command at work, the network of the main cfg, and its weights."""
    session = begin(words)
    weights = session.project.weights(words.files[1])
    network = session.load(session.project.section.modelcfg, weights)
    session.project.list_of("valid")
    return session, network, weights


def _measure(session: Session, network: Network, weights: Path) -> None:
    """Print the figures of a network, class by class, and its main figure in a line."""
    import secateur

    data = session.project.data.path

    def opened(network: Network, batch: int | None) -> Dataset:
        return session.project.valid(network, secateur.DataOptions(batch=batch))

    session.say("calculate map")
    options = secateur.EvaluateOptions()
    found = quality.measure([network], opened, None, session.terminal, options)
    assert isinstance(found, list), "one network is compared with none"
    measured = found[0]
    for problem in measured.skipped:
        session.terminal.warn(f"left out: {problem}")
    rows = quality.rows_of([measured.result], per_class=True, names=measured.classes)
    quality.show(session.terminal, [network.name], rows, measured.result.samples, data)
    session.say(f"{measured.result.metric}: {measured.result.value:.6f}")
    command = "map" if network.heads else "valid"
    cfg = session.project.section.modelcfg
    say_same(session.terminal, [command, cfg, weights, "--data", data])
