"""Showing what a pipeline would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import words

if TYPE_CHECKING:
    import secateur

    from .terminal import Terminal

__all__ = ["show_forecast"]


def show_forecast(terminal: Terminal, forecast: secateur.Forecast) -> None:
    """Print what would run, how long it takes about, and which rates can be reached."""
    from rich.table import Table

    terminal.notes(forecast.notes)
    cost = forecast.cost
    data = ", ".join(f"{role} {samples:,}" for role, samples in forecast.data.items())
    lines = [
        ("Model", f"{forecast.model}: {words.count(cost.operations)}Op a sample, "
                  f"{words.count(cost.parameters)} parameters"),
        ("Samples", data or "no data"),
        *_rates(forecast),
        ("Output", str(forecast.output)),
    ]  # fmt: skip
    for name, text in lines:
        terminal.out.print(f"{name + ':':<10}{text}", markup=False, soft_wrap=True)
    table = Table(header_style="bold")
    table.add_column("Step")
    for name in ("Samples", "About"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for step in forecast.steps:
        about = "?" if step.seconds is None else _about(step.seconds)
        samples = f"{step.samples:,}" if step.samples and step.runs else ""
        table.add_row(step.name, samples, about if step.runs else "-", step.why)
    terminal.out.print(table)
    terminal.note(
        f"{_about(forecast.seconds)} in all, as long as nothing else runs here; nothing was written"
    )


def _rates(forecast: secateur.Forecast) -> list[tuple[str, str]]:
    """Return a line on the rates that can be reached, and on what the one asked for leaves."""
    reach = forecast.reach
    if reach is None:
        return []
    sure, most = (int(rate * 1000) / 1000 for rate in (max(0.0, reach.sure), max(0.0, reach.most)))
    text = f"up to {most:g} of the {forecast.budget} can go"
    if sure < most:
        text += f" ({sure:g} whichever channels stay)"
    if forecast.rate is not None:
        text += f"; asked is {forecast.rate:g}"
    if forecast.after is not None:
        unit = "Op" if forecast.budget == "operations" else " parameters"
        text += f", which leaves {words.count(forecast.after)}{unit}"
    return [("Rate", text)]


def _about(seconds: float) -> str:
    """Return a time to one digit, as it is only about right."""
    if seconds < 1:
        return "under 1 s"
    power = 10 ** (len(str(int(seconds))) - 1)
    rounded = round(seconds / power) * power
    return f"about {words.time(rounded).replace('.0 ', ' ')}"
