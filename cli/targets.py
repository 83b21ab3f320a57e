"""`secateur targets`: the engines that a network can be pruned for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .common import AsJson
from .flags import with_flags
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from secateur import Target

    from .terminal import Terminal


@with_flags
def command(
    target: Annotated[
        str | None,
        Parameter(name="NAME", help="One target, or FILE.yaml. If not given: all, in a table."),
    ] = None,
    /,
    *,
    as_json: AsJson = False,
    screen: ScreenOptions,
) -> None:
    """List the engines that a network can be pruned for, with their blocks of channels."""
    import secateur

    terminal = screen.terminal()
    names = secateur.target_names() if target is None else (target,)
    found = [secateur.find_target(name) for name in names]
    if as_json:
        data = [one.to_data() for one in found]
        print_json(data if target is None else data[0])
    elif target is None:
        _print_table(terminal, found)
    else:
        _print_one(terminal, found[0])


def _print_table(terminal: Terminal, targets: list[Target]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Target", no_wrap=True)
    table.add_column("Inputs", justify="right")
    table.add_column("Outputs", justify="right")
    table.add_column("What it is", overflow="fold")
    table.add_column("Reads", overflow="fold")
    for one in targets:
        table.add_row(
            one.name, _block(one.inputs), _block(one.outputs), one.summary, ", ".join(one.readers)
        )
    terminal.out.print(table)


def _block(channels: int) -> str:
    return str(channels) if channels > 1 else "–"


def _print_one(terminal: Terminal, target: Target) -> None:
    blocks = (
        f"{target.inputs} inputs × {target.outputs} outputs" if max(target.blocks) > 1
        else "none known: a removal counts as operations"
    )  # fmt: skip
    lines = [
        (target.name, target.summary),
        ("Blocks", blocks),
        *((f"Reads {name}", text) for name, text in target.readers.items()),
        *((f"Not from {name}", ", ".join(types)) for name, types in target.refuses.items()),
        *(("Source", text) for text in target.sources),
        *(("Not documented", text) for text in target.missing),
    ]
    for name, text in lines:
        terminal.out.print(f"{name + ':':<18}{text}", markup=False)
