"""[rnn] and other sections that are refused. Source: rnn_layer.c, gru_layer.c, lstm_layer.c, …

Recurrent layers remember earlier inputs; the others compute for training only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from ....core.errors import UnsupportedError
from ..section import Example, Handling, Section, section


@section("rnn", "gru", "lstm", "crnn", "conv_lstm", "history")
@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrent(Section):
    """A layer with a memory from one input to the next."""

    example = Example(handling=Handling.REFUSED, text="output=16", note="remembers earlier inputs")

    def to_ir(self, *args: Any, **kwargs: Any) -> ir.Value:  # noqa: ARG002
        """Refuse.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("recurrent layers remember earlier inputs; they are not supported")


@section("contrastive", "iseg")
@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Section):
    """A layer that computes for training only."""

    example = Example(handling=Handling.REFUSED, note="its arithmetic is about training")

    def to_ir(self, *args: Any, **kwargs: Any) -> ir.Value:  # noqa: ARG002
        """Refuse.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("this layer is about training; it is not supported")
