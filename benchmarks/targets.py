"""What whole blocks of channels gain: accuracy against latency, measured on several engines.

    python benchmarks/targets.py yolo-fastest resnet20 [--rate 0.5] [--images 100]
                                 [--variants plain default round-8 latency]
                                 [--criterion l1] [--repair none] [--engines onnxruntime opencv]
                                 [--threads 1] [--seconds 10] [--keep pruned] [--shared ../shared]

Each network loses the same part of a cost, in several ways: of the operations, with any number of
channels or multiples of some; of the cost of a target; of measured milliseconds. Then all are
timed in turn with the original, on each engine in one process: their times can be compared with
each other and with nothing else. Accuracy is of few images: read differences of some points as
none. For each network a Markdown table goes to stdout.

The networks and their images are those of quality.py. Nothing is trained. Networks that
--keep holds from an earlier run are timed, but not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quality import CASES, Held, quality, spread_out

import secateur

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ("yolo-fastest", "mobilenetv2-yolo", "squeezenet", "tiny", "resnet20")


def variants() -> Mapping[str, Mapping[str, Any]]:
    """Return name → the options that it prunes with."""
    return {
        "plain": {"limits": secateur.Limits(round_to=1)},
        "default": {},
        "round-8": {"limits": secateur.Limits(round_to=8)},
        "round-16": {"limits": secateur.Limits(round_to=16)},
        "onnxruntime": {"target": secateur.find_target("onnxruntime")},
        "opencv": {"target": secateur.find_target("opencv")},
        "latency": {"budget": "latency"},
    }


SPELLED = {
    "plain": "any number of channels",
    "default": "multiples that fit the width",
    "round-8": "`--round-to 8`",
    "round-16": "`--round-to 16`",
    "onnxruntime": "`--target onnxruntime`",
    "opencv": "`--target opencv`",
    "latency": "`--budget latency`",
}


FIGURES = "figures.json"
"""What was found of a network that is kept."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A network of the table: `achieved` is the part of its own cost that it lost."""

    label: str
    network: secateur.Network
    achieved: float
    accuracy: float


def rows(name: str, arguments: argparse.Namespace) -> list[Row]:
    """Return the original and all variants of a network, with their accuracy."""
    case = CASES[name]
    folder = arguments.shared / "models" / case.folder
    network = secateur.load(*(folder / file for file in case.files))
    with tempfile.TemporaryDirectory() as scratch:
        calibration, test = case.folds(arguments.shared, Path(scratch), network)[0]
        assert isinstance(calibration, Held)
        assert isinstance(test, Held)
        few, judged = (spread_out(own, arguments.images) for own in (calibration, test))
        found = [Row(label="original", network=network, achieved=0.0,
                     accuracy=quality(network, judged)[0])]  # fmt: skip
        known = variants()
        for variant in arguments.variants:
            kept = (arguments.keep or Path(scratch)) / f"{name}-{variant}-{arguments.rate:g}"
            if not (kept / FIGURES).exists():
                print(f"  {name}: {variant}", file=sys.stderr, flush=True)
                try:
                    result = secateur.prune(
                        network, rate=arguments.rate, criterion=arguments.criterion, data=few,
                        repair=arguments.repair, as_far_as_possible=True, **known[variant],
                    )  # fmt: skip
                except secateur.SecateurError as error:
                    print(f"  {name}: {variant}: {error}", file=sys.stderr, flush=True)
                    continue
                figures = {
                    "achieved": result.plan.provenance["rate"]["achieved"],
                    "accuracy": quality(result.network, judged)[0],
                }
                secateur.save(result, kept)
                (kept / FIGURES).write_text(json.dumps(figures))
            own = secateur.load(*(kept / file for file in case.files))
            figures = json.loads((kept / FIGURES).read_text())
            found.append(Row(label=SPELLED[variant], network=own, **figures))
    return found


def table(found: Sequence[Row], measured: Sequence[secateur.Measured]) -> list[str]:
    """Return the lines of a table."""
    engines = [f"{one.engine} {one.version}" for one in measured]
    lines = [
        f"| variant | removed of its cost | operations | accuracy | {' | '.join(engines)} |",
        f"|---|---:|---:|---:|{'---:|' * len(engines)}",
    ]
    whole = operations(found[0].network)
    for place, row in enumerate(found):
        cells = [told(one, place) for one in measured]
        left = operations(row.network) / whole - 1.0
        lines.append(
            f"| {row.label} | {row.achieved:.0%} | {left:+.0%} | {row.accuracy:.1f} | "
            f"{' | '.join(cells)} |"
        )
    return lines


def told(measured: secateur.Measured, place: int) -> str:
    """Return the latency of a network with its change, or that there is none."""
    first, own = measured.timings[0], measured.timings[place]
    if own is None:
        return "–"
    if first is None or place == 0:
        return f"{own.median:.2f} ms"
    low, high = own.since(first)
    return f"{own.median:.2f} ms ({low:+.0%} to {high:+.0%})"


def operations(network: secateur.Network) -> int:
    return secateur.measure_cost(network, secateur.find_groups(network)).operations


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--images", type=int, default=100, help="to calibrate, and to measure on")
    parser.add_argument("--variants", nargs="+", default=list(SPELLED), choices=list(SPELLED))
    parser.add_argument("--criterion", default="auto")
    parser.add_argument("--repair", default="auto")
    parser.add_argument("--engines", nargs="+", default=["onnxruntime", "opencv"])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each engine")
    parser.add_argument("--keep", type=Path, help="folder of the pruned networks")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.networks if name not in CASES]:
        parser.error(f"unknown network '{unknown[0]}': known are {', '.join(CASES)}")
    for name in arguments.networks:
        found = rows(name, arguments)
        measured = [
            secateur.find_engine(engine, arguments.threads)(
                [row.network for row in found], seconds=arguments.seconds
            )
            for engine in arguments.engines
        ]
        print(f"\n### {name}, {arguments.rate:.0%} of the cost, {arguments.images} images\n")
        print("\n".join(table(found, measured)), flush=True)
        for one in measured:
            for note in one.notes:
                print(f"\n{note}")


if __name__ == "__main__":
    main()
