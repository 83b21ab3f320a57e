"""The net that a caffemodel itself defines: what Caffe saves is a whole net with its weights.

Source: net.cpp `Net::ToProto` (BVLC 9b89154). It writes every layer of the phase that ran, with the
splits that Caffe inserted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from ...proto.caffe import message_class
from .caffemodel import Caffemodel
from .document import Document, parse
from .upgrade import LayerText

__all__ = ["definition_of", "related"]


def definition_of(weights: Caffemodel) -> Document | None:
    """Return the net that a caffemodel defines, as a text; None if it defines none.

    Many tools write entries with names and weights only.
    """
    message: Any = message_class("NetParameter")()
    try:
        message.ParseFromString(weights.without_blobs())
        text = text_format.MessageToString(message)
    except (DecodeError, UnicodeDecodeError):  # a fork's fields under other numbers
        return None
    if not any(layer.bottom for layer in (*message.layer, *message.layers)):
        return None
    return parse(text.encode(), weights.path)


def related(
    texts: Sequence[LayerText], names: Collection[str], *, behind: bool
) -> tuple[tuple[LayerText, ...], frozenset[str]]:
    """Return some layers with all that they read, and the tops that may be outputs.

    Args:
        texts: layers, in order.
        names: names of the wanted layers.
        behind: whether layers that read what these make are wanted as well.
    """
    made: dict[str, int] = {}
    reads: list[set[int]] = []
    wanted: set[int] = set()
    for index, text in enumerate(texts):
        reads.append({made[blob.text] for blob in text.bottoms if blob.text in made})
        # Entries without bottoms hold weights, but say nothing of the net.
        if (text.name in names and text.bottoms) or (behind and reads[-1] & wanted):
            wanted.add(index)
        made.update((top.text, index) for top in text.tops)
    needed = set(wanted)
    for index in reversed(range(len(texts))):
        if index in needed:
            needed |= reads[index]
    outputs = frozenset(top.text for index in wanted for top in texts[index].tops)
    return tuple(texts[index] for index in sorted(needed)), outputs
