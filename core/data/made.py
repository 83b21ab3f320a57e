"""The kinds of data that are made up for a network; importing this module registers them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .base import Dataset
from .naming import SYNTHETIC, made_name
from .registry import KINDS, Kind, Opening
from .structured.dataset import STYLES, USUAL_STYLE, StructuredDataset

__all__: list[str] = []


def _open(_: Path, opening: Opening, *, style: str) -> Dataset:
    return StructuredDataset(
        opening.network,
        style=style,
        samples=opening.options.limit,
        batch=opening.batch,
        preprocess=opening.preprocess,
    )


def _is_one_of(path: Path, _: Opening, *, names: frozenset[str]) -> bool:
    return str(path) in names


for _style in STYLES:
    _names = {made_name(_style)} | ({SYNTHETIC} if _style == USUAL_STYLE else set())
    KINDS.add(
        made_name(_style),
        entry=Kind(
            name=made_name(_style),
            claims=partial(_is_one_of, names=frozenset(_names)),
            open=partial(_open, style=_style),
            rank=0,
            made=True,
        ),
    )
