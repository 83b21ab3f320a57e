"""Which options a help page shows first, and the examples that it ends with.

`--help` fits one screen; `--help-all` shows every option. Both read this table, and tests hold it
to the commands: every option exists, every example can be parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["EVERYTHING", "PAGES", "Page", "epilogue"]

EVERYTHING = "--help-all"
"""Asks for the help of all options."""


@dataclass(frozen=True, slots=True)
class Page:
    """The short help of a command.

    Args:
        flags: the options that it shows, with one blank between them.
        examples: command lines that it ends with.
    """

    flags: str
    examples: tuple[str, str]

    @property
    def shown(self) -> frozenset[str]:
        """The options that it shows."""
        return frozenset(self.flags.split())


PAGES: Mapping[str, Page] = {
    "inspect": Page(
        "--json --companion --phase --input-shape --config",
        (
            "secateur inspect deploy.prototxt net.caffemodel",
            "secateur inspect yolo.cfg yolo.weights --json",
        ),
    ),
    "convert": Page(
        "--output --expose --pad-channels --reset-seen --config",
        (
            "secateur convert deploy.prototxt net.caffemodel -o net.onnx",
            "secateur convert pruned.onnx --pad-channels 16 -o padded.onnx",
        ),
    ),
    "ana": Page(
        "--output --data --val --criterion --rates --exclude --report --restart",
        (
            "secateur ana deploy.prototxt net.caffemodel --data val.txt -o ana/",
            "secateur ana yolo.cfg yolo.weights --data voc.data --rates 0.3,0.5 -o ana/",
        ),
    ),
    "prune": Page(
        "--output --rate --data --val --criterion --exclude --round-to --max-drop --report --json",
        (
            "secateur prune net.prototxt net.caffemodel --rate 0.3 --data images/ -o out/",
            "secateur prune yolo.cfg yolo.weights --rate 0.3 --data voc.data -o out/",
        ),
    ),
    "study": Page(
        "--output --data --val --methods --rates --repair --seeds --low-data",
        (
            "secateur study net/ --data train.txt --val val.txt --methods obs,l1 -o study/",
            "secateur study yolo.cfg yolo.weights --data voc.data --rates 0.2:0.6:0.2",
        ),
    ),
    "finetune": Page(
        "--output --data --val --teacher --plan --epochs --time --learning-rate --solver --resume "
        "--report",
        (
            "secateur finetune out/ --data train.txt --epochs 5 -o tuned/",
            "secateur finetune out/ --teacher yolo.cfg yolo.weights --data images/ \\\n"
            "      --plan out/plan.yaml --time 10m -o tuned/",
        ),
    ),
    "iterate": Page(
        "--output --data --val --to --rounds --finetune --max-drop",
        (
            "secateur iterate net/ --data train.txt --val val.txt --to 0.5 --rounds 5 \\\n"
            "      --max-drop 1 -o rounds/",
            "secateur iterate yolo.cfg yolo.weights --data voc.data --rates 0.2,0.4 \\\n"
            "      --finetune 10m -o rounds/",
        ),
    ),
    "transform": Page(
        "--output --plan --data --val --repair --force --json",
        (
            "secateur transform net.prototxt tuned.caffemodel --plan plan.yaml -o dense/",
            "secateur transform out/net.cfg backup/net_final.weights -o dense/",
        ),
    ),
    "compare": Page(
        "--input --tolerance --limit --json --config",
        (
            "secateur compare deploy.prototxt net.caffemodel net.onnx",
            "secateur compare y.cfg y.weights y.onnx --input images/ --tolerance 1e-3",
        ),
    ),
    "diff": Page(
        "--all --json --config",
        (
            "secateur diff net/ pruned/",
            "secateur diff a.cfg a.weights b.cfg b.weights --all",
        ),
    ),
    "valid": Page(
        "--data --task --top-k --per-class --accuracy --json --mean --scale --preprocess --limit",
        (
            "secateur valid deploy.prototxt net.caffemodel --data val.txt --preprocess auto",
            "secateur valid net/ pruned/ --data images.zip --json",
        ),
    ),
    "map": Page(
        "--data --score --nms --iou --json --limit",
        (
            "secateur map yolo.cfg yolo.weights --data voc.data",
            "secateur map before/ after/ --data annotations.json --root images/",
        ),
    ),
    "predict": Page(
        "--output --data --score --nms --top-k --names --limit --json",
        (
            "secateur predict yolo.cfg yolo.weights --data photos/ -o pictures/",
            "secateur predict net/ pruned/ --data photos/ --limit 20 -o pictures/",
        ),
    ),
    "init": Page(
        "--output --data --val --test --force --companion",
        (
            "secateur init deploy.prototxt net.caffemodel --data val.txt",
            "secateur init yolo.cfg yolo.weights --data voc.data -o yolo.yaml",
        ),
    ),
    "run": Page(
        "--set --dry-run --until --from --restart --report --json",
        ("secateur run --dry-run", "secateur run yolo.yaml --set prune.rate=0.4"),
    ),
    "latency": Page(
        "--engines --threads --seconds --export --json --config",
        (
            "secateur latency net.prototxt net.caffemodel pruned/",
            "secateur latency yolo.cfg yolo.weights --export layers/",
        ),
    ),
    "targets": Page("--json", ("secateur targets", "secateur targets dpu-b4096 --json")),
    "schema": Page(
        "--config",
        ("secateur schema > secateur.schema.json", "secateur schema output > output.schema.json"),
    ),
    "stat": Page(
        "--json --all --regions --config",
        ("secateur stat deploy.prototxt", "secateur stat yolo.cfg yolo.weights --all"),
    ),
    "data check": Page(
        "--root --names --json --verbose",
        (
            "secateur data check images.zip",
            "secateur data check val.txt deploy.prototxt net.caffemodel --root images/",
        ),
    ),
    "completion": Page(
        "",
        (
            "secateur completion bash > ~/.local/share/bash-completion/completions/secateur",
            "secateur completion fish > ~/.config/fish/completions/secateur.fish",
        ),
    ),
}
"""Command → its page."""


def epilogue(command: str, *, everything: bool) -> str:
    """Return what ends the help of a command.

    Args:
        command: its name.
        everything: whether the page shows all options.
    """
    page = PAGES.get(command)
    if page is None:
        return ""
    more = (
        "" if everything or not page.flags else f"All options: secateur {command} {EVERYTHING}\n\n"
    )
    return more + "\n".join(("Examples:", *(f"  {example}" for example in page.examples)))
