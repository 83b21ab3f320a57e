"""Writing a network as an ONNX file."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from ...core.errors import UnsupportedError
from ...core.ir.network import Network

__all__ = ["to_bytes"]

LARGEST = (1 << 31) - 1
"""Protobuf's limit for one message, in bytes."""


def to_bytes(network: Network) -> bytes:
    """Return the network as a checked ONNX file.

    Raises:
        UnsupportedError: the file would be over 2 GB.
    """
    size = sum(v.const_value.nbytes for v in network.graph.initializers.values() if v.const_value)
    if size > LARGEST:
        raise UnsupportedError(f"{size} bytes of weights do not fit into one ONNX file (2 GB)")
    proto = ir.to_proto(network.model)
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content
