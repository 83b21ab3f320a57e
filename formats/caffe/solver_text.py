"""The text of a solver for a pruned net: the user's with other paths, or one for fine-tuning."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from .document import Insert, Replace, Scalar
from .new_layer import quoted
from .solver import read_solver, solver_document

__all__ = ["default_solver", "own_solver"]

UPDATES = 10_000
"""Updates of the default solver."""


def default_solver(net: str, prefix: str, *, test_batch: int | None, boxes: bool) -> bytes:
    """Return a solver for fine-tuning: a low rate that falls to nothing.

    Args:
        net: name of the net's file.
        prefix: what names of snapshots begin with.
        test_batch: images of a pass of testing; None where the net says it.
        boxes: whether the net is a detector, which the SSD fork measures in another way.
    """
    of = f"{test_batch}" if test_batch is not None else "batch_size of the TEST data layer"
    lines = [
        "# Fine-tuning of a pruned net. It is not trained from scratch: the rate begins low.",
        f"net: {quoted(net)}",
        f"test_iter: 100          # images of your test set / {of}",
        "test_interval: 500",
        'type: "SGD"',
        "base_lr: 0.001          # 1/10 of the rate that the net was first trained with is usual",
        'lr_policy: "poly"       # falls in a straight line',
        "power: 1",
        f"max_iter: {UPDATES}         # five to twenty passes over your images",
        "momentum: 0.9",
        "weight_decay: 0.0005",
        "display: 50",
        "snapshot: 1000",
        f"snapshot_prefix: {quoted(prefix)}",
        "solver_mode: GPU        # CPU without a GPU",
    ]
    if boxes:
        lines += ['eval_type: "detection"', 'ap_version: "11point"']
    return ("\n".join(lines) + "\n").encode()


def own_solver(
    path: Path, nets: Collection[str], main: str, folder: str, weights: str
) -> tuple[bytes, str]:
    """Return the user's solver with the paths of the written files, and what snapshots begin with.

    Nothing else changes.

    Args:
        path: the user's solver.
        nets: names of the written nets: where one bears the name that the solver gives, it is
            taken; else the main one.
        main: name of the main net.
        folder: folder of snapshots.
        weights: name of the file of weights.

    Raises:
        FormatError: it is no solver file, or one of its fields is wrong.
        UnsupportedError: its type or its policy is unknown.
    """
    read_solver(path).settings()
    document = solver_document(path)
    stem = Path(main).stem
    edits: list[Replace | Insert] = []
    prefix = f"{folder}/{stem}"
    for field in document.root.fields:
        if not isinstance(field.value, Scalar):
            continue
        name = Path(field.value.text).name
        if field.name in ("net", "train_net", "test_net"):
            edits.append(Replace(field.value, quoted(name if name in nets else main)))
        elif field.name == "snapshot_prefix":
            prefix = f"{folder}/{name or stem}"
            edits.append(Replace(field.value, quoted(prefix)))
        elif field.name == "weights":
            edits.append(Replace(field.value, quoted(weights)))
    root = document.root
    if not root.all("net") and not root.all("train_net"):
        edits.append(Insert(root, "net", quoted(main)))
    if not root.all("snapshot_prefix"):
        edits.append(Insert(root, "snapshot_prefix", quoted(prefix)))
    return bytes(document.replace(edits)), prefix
