"""Training a golden case of Caffe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core.ir.network import BlobRef, blob_refs
from secateur.core.training.criterion import Criterion
from secateur.core.training.module import TrainingModule
from secateur.core.training.solvers.solver import Solver
from secateur.formats.caffe.reader import load
from secateur.formats.caffe.solver import read_solver
from secateur.formats.caffe.solverstate import read_solverstate
from secateur.formats.caffe.training import recipe

from .training import need_torch

ITERATIONS = 10


class CaffeRun:
    """One case, trained for ten iterations; `arrays` holds what it gave by the engine's names."""

    def __init__(self, case: Path, io: Mapping[str, np.ndarray], written: Path):
        self.torch = need_torch()
        self.io = io
        self.written = written
        resumed = not (case / "init.caffemodel").is_file()
        weights = case / ("snap_iter_10.caffemodel" if resumed else "init.caffemodel")
        self.network = load(case / "net.prototxt", weights, phase="TRAIN", training=True)
        self.file = read_solver(case / "solver.prototxt")
        self.recipe = recipe(self.network, self.file)
        assert self.recipe.settings is not None
        self.settings = self.recipe.settings
        self.module = TrainingModule(
            self.network, statistics=self.recipe.statistics, frozen=self.recipe.frozen
        ).train()
        self.criterion = Criterion(self.recipe.objectives)
        state = read_solverstate(case / "snap_iter_10.solverstate").progress if resumed else None
        self.solver = Solver(self.module, self.recipe.rules, self.settings, progress=state)
        self.names = {
            ref: name
            for name, value in self.network.graph.initializers.items()
            for ref in blob_refs(value)
        }
        self.module.mode.draw = self._mask
        self.arrays: dict[str, Any] = {}
        self.outputs: dict[str, list[Any]] = {key: [] for key in io if key.startswith("out:")}
        self._pass = 0

    def train(self) -> dict[str, Any]:
        """Return what the case gave."""
        losses = []
        for iteration in range(1, ITERATIONS + 1):
            losses.append(self._iteration(first=iteration == 1))
            if iteration in (1, 3, 10):
                self._store(f"w{iteration}")
        self.arrays["loss"] = np.array(losses)
        self.arrays |= {key: np.array(found) for key, found in self.outputs.items()}
        history = self.solver.progress.history
        self.arrays |= {f"history10:{k}": array for k, array in enumerate(history)}
        return self.arrays

    def _iteration(self, *, first: bool) -> float:
        total = 0.0
        for number in range(self.settings.passes):
            batch = {
                key[3:]: self.torch.from_numpy(array[self._pass])
                for key, array in self.io.items() if key.startswith("in:")
            }  # fmt: skip
            watched = [key[5:] for key in self.io if key.startswith("blob:")] if first else []
            values = {name: self._values(name) for name in watched}
            also = [one for pair in values.values() for one in pair]
            extra = [name[4:] for name in self.outputs if name[4:] in self.module.names]
            losses = self.criterion(self.module, batch, also=[*also, *extra])
            for name in also:
                if losses.values[name].requires_grad:
                    losses.values[name].retain_grad()
            losses.total.backward()
            for key, found in self.outputs.items():
                value = losses.parts.get(key[4:], losses.values.get(key[4:]))
                found.append(float(value.detach()))
            total += float(losses.total.detach())
            self._pass += 1
            if first and number == self.settings.passes - 1:
                self._blobs(values, losses)
                self._gradients()
            self.solver.step()
        return total / self.settings.passes

    def _values(self, blob: str) -> tuple[str, str]:
        """Return the values that hold a blob first and last."""
        found = [
            value
            for own in self.network.source.layers
            for top, value in zip(own.layer.tops, own.tops, strict=True)
            if top == blob
        ]
        return found[0], found[-1]

    def _blobs(self, values: Mapping[str, tuple[str, str]], losses: Any) -> None:
        for blob, (first, last) in values.items():
            self.arrays[f"blob:{blob}"] = losses.values[last].detach().clone()
            tensor = losses.values[first]
            if f"blobdiff:{blob}" in self.io:
                none = self.torch.zeros_like(tensor)
                self.arrays[f"blobdiff:{blob}"] = tensor.grad if tensor.grad is not None else none
        for one in self.recipe.objectives:
            self.arrays[f"blob:{one.name}"] = losses.parts[one.name].detach().clone()

    def _gradients(self) -> None:
        for key, tensor in self._parameters():
            grad = tensor.grad
            self.arrays[f"grad:{key}"] = (
                self.torch.zeros_like(tensor) if grad is None else grad.clone()
            ).reshape(self.io[f"grad:{key}"].shape)

    def _store(self, prefix: str) -> None:
        """Take the blobs out of the files that would be written."""
        network = self.module.network()
        folder = self.written
        for suffix, data in network.source.render(network).items():
            (folder / f"net{suffix}").write_bytes(data)
        again = load(
            folder / "net.prototxt", folder / "net.caffemodel", phase="TRAIN", training=True
        )
        weights = again.source.weights
        for own in again.source.layers:
            for position, _ in enumerate(own.layer.stored()):
                blob = weights.layers[own.stored[-1]].blobs[position]
                self.arrays[f"{prefix}:{own.layer.name}/{position}"] = (
                    weights.values(blob).reshape(blob.shape).copy()  # the file is written again
                )

    def _parameters(self) -> list[tuple[str, Any]]:
        return [
            (
                f"{own.layer.name}/{position}",
                self.module.tensor(self.names[BlobRef(index, position, blob.name)]),
            )
            for index, own in enumerate(self.network.source.layers)
            for position, blob in enumerate(own.layer.stored())
        ]

    def _mask(self, key: str, x: Any, ratio: float) -> Any:
        index = next(own.layer.name for own in self.network.source.layers if key in own.tops)
        assert 0 < ratio < 1
        return self.torch.from_numpy(self.io[f"mask:{index}"][self._pass]).reshape(x.shape)
