"""`--json`: what commands came to, as one JSON document and nothing else on standard output.

What it holds is said by :mod:`.output_schema`; files of the program are JSON by other rules.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["files_as_data", "print_json"]


def print_json(content: Any) -> None:
    """Print plain values. JSON has no infinity and no "not a number": null stands for both."""
    print(json.dumps(_finite(content), indent=1, ensure_ascii=False))  # noqa: T201


def files_as_data(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Return written files as plain values: path and bytes of each."""
    return [{"path": str(path), "bytes": path.stat().st_size} for path in paths]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value
