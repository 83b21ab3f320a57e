"""Training a golden case of a Darknet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core.ir.network import BlobRef, blob_refs
from secateur.core.training.criterion import Criterion
from secateur.core.training.module import TrainingModule
from secateur.core.training.solvers.solver import Solver
from secateur.formats.darknet.reader import load
from secateur.formats.darknet.recipe import TRUTH, recipe, seen

from .training import need_torch

UPDATES = 3
BLOBS = {
    "weight": "weights", "bias": "biases", "scale": "scales", "rolling_mean": "rolling_mean",
    "rolling_variance": "rolling_variance",
}  # fmt: skip
BARE = ("Conv", "ConvTranspose", "Gemm")
"""Operators behind which the delta of a layer with weights is kept."""


class DarknetRun:
    """One case, trained for three updates; `arrays` holds what it gave by the engine's names."""

    def __init__(self, case: Path, engine: str, io: Mapping[str, np.ndarray], written: Path):
        self.torch = need_torch()
        self.io = io
        self.written = written
        self.network = load(
            case / "model.cfg", case / "model.weights", flavour=engine, training=True
        )
        self.recipe = recipe(self.network)
        assert self.recipe.settings is not None
        self.settings = self.recipe.settings
        # Gradients are recorded too of layers that this Darknet never updates.
        frozen = recipe(self.network, all_layers=True).frozen
        self.module = TrainingModule(
            self.network,
            statistics=self.recipe.statistics,
            frozen=frozen,
            passings=self.recipe.passings,
        ).train()
        self.criterion = Criterion(self.recipe.objectives)
        self.solver = Solver(self.module, self.recipe.rules, self.settings, seen=seen(self.network))
        self.names = {
            name: refs
            for name, value in self.network.graph.initializers.items()
            if (refs := blob_refs(value))
        }
        self.arrays: dict[str, Any] = {}
        self.costs: list[list[float]] = []
        self._pass = 0

    def train(self) -> dict[str, Any]:
        """Return what the case gave."""
        self.arrays["lr_used"] = np.array([self._update(k + 1) for k in range(UPDATES)])
        costs = np.array(self.costs)
        self.arrays |= {"head_cost": costs, "cost": costs.mean(axis=1)}
        return self.arrays

    def _update(self, number: int) -> float:
        rate = self.solver.rate
        for part in range(self.settings.passes):
            self._one(number, part)
            if number == 1 and part == self.settings.passes - 1:
                self._gradients()
            self.solver.step()
        if number == 1:
            self._momenta()
        if number in (1, 3):
            self._store(f"w{number}")
        return rate

    def _one(self, number: int, part: int) -> None:
        x = self.torch.from_numpy(self.io["X"][self._pass]).requires_grad_(self._pass == 0)
        batch = {"data": x, TRUTH: self.torch.from_numpy(self.io["truth"][self._pass])}
        first = self._pass == 0
        outputs = {k: layer.tops[0] for k, layer in enumerate(self.network.layers)}
        bare = {k: self._bare(k) for k in outputs} if first else {}
        wanted = {
            *(outputs[int(key.split(":")[1])] for key in self.io if key.startswith("out:")),
            *(bare[int(key.split(":")[1])] for key in self.io if key.startswith("delta:")),
        } if first else set()  # fmt: skip
        losses = self.criterion(self.module, batch, seen=self.solver.seen, also=sorted(wanted))
        for name in wanted:
            if losses.values[name].requires_grad and not losses.values[name].is_leaf:
                losses.values[name].retain_grad()
        losses.total.backward()
        self.costs.append(self._costs(losses))
        self._pass += 1
        if first:
            for k, name in outputs.items():
                if f"out:{k}" in self.io:
                    self.arrays[f"out:{k}"] = losses.values[name].detach()
            self._deltas(bare, losses, batch)
            self.arrays["delta_input"] = -x.grad

    def _costs(self, losses: Any) -> list[float]:
        """Return the cost of every layer that has one; a head without a loss reports 0."""
        heads = [
            str(k) for k, layer in enumerate(self.network.layers)
            if layer.type in ("yolo", "Gaussian_yolo", "region", "detection", "softmax", "cost")
        ]  # fmt: skip
        return [float(losses.parts[k]) if k in losses.parts else 0.0 for k in heads]

    def _deltas(self, bare: Mapping[int, str], losses: Any, batch: Mapping[str, Any]) -> None:
        passed = {}
        for one in self.recipe.objectives:
            inputs = [losses.values.get(name, batch.get(name)) for name in one.reads]
            inputs = [value.detach() for value in inputs]
            images = self.settings.images // self.settings.passes
            found = one.loss.deltas(*inputs, seen=images + seen(self.network))
            self.arrays[f"head_delta:{one.name}"] = self.arrays[f"delta:{one.name}"] = found.own
            passed[int(one.name)] = found.own if found.passed is None else found.passed
        for k, layer in enumerate(self.network.layers):
            if layer.type == "softmax" and k + 1 in passed:  # [cost] behind adds to its delta
                own = self.arrays.get(f"head_delta:{k}", self.torch.zeros_like(passed[k + 1]))
                self.arrays[f"head_delta:{k}"] = own
                self.arrays[f"delta:{k}"] = own + passed[k + 1]
        for k, name in bare.items():
            if f"delta:{k}" in self.io and f"delta:{k}" not in self.arrays:
                grad = losses.values[name].grad
                self.arrays[f"delta:{k}"] = (
                    -grad if grad is not None else self.torch.zeros_like(losses.values[name])
                )

    def _bare(self, index: int) -> str:
        """Return the value whose delta the engine keeps for a layer."""
        nodes = [node for node in self.network.graph if node.meta.get("layer") == index]
        for node in nodes:
            if node.op_type in BARE:
                return str(node.outputs[0].name)
        kind = self.network.layers[index].type
        if kind == "batchnorm":
            return self.network.layers[index].bottoms[0]
        if kind == "shortcut":
            sums = [node for node in nodes if node.op_type in ("Add", "Concat")]
            return str(sums[-1].outputs[0].name)
        if kind == "activation":
            return self.network.layers[index].bottoms[0]
        return self.network.layers[index].tops[0]

    def _gradients(self) -> None:
        for (layer, blob), tensor in self._blobs():
            if blob.startswith("rolling"):
                continue
            grad = tensor.grad if tensor.grad is not None else self.torch.zeros_like(tensor)
            key = f"g1.{blob}_updates:{layer}"
            self.arrays[key] = -grad.clone()
            if key in self.io:  # weights of [shortcut] have further axes in the graph
                self.arrays[key] = self.arrays[key].reshape(self.io[key].shape)

    def _momenta(self) -> None:
        images, momentum = self.settings.images, getattr(self.settings.method, "momentum", 0)
        for rule, history in zip(self.solver.rules, self.solver.history, strict=True):
            for ref in self.names[rule.name]:
                key = f"v1.{ref.name}_updates:{ref.layer}"
                self.arrays[key] = -momentum * images * history[0].clone()

    def _store(self, prefix: str) -> None:
        """Take the blobs out of the files that would be written."""
        network = self.module.network()
        for suffix, data in network.source.render(network).items():
            (self.written / f"net{suffix}").write_bytes(data)
        again = network.source.reread(
            {suffix: self.written / f"net{suffix}" for suffix in (".cfg", ".weights")}
        )
        for layer, record in enumerate(again.source.records):
            for blob, array in record.stored.items():
                key = f"{prefix}.{BLOBS[blob]}:{layer}"
                self.arrays[key] = np.array(array).reshape(self.io[key].shape)

    def _blobs(self) -> list[tuple[tuple[int, str], Any]]:
        return [
            ((ref.layer, ref.name), self.module.tensor(name))
            for name, refs in self.names.items()
            for ref in refs
            if isinstance(ref, BlobRef)
        ]
