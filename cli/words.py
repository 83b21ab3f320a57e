"""Numbers and shapes as people read them: those of the library, by short names."""

from secateur import count_text as count
from secateur import dims_text as shape
from secateur import percent_text as percent
from secateur import sample_text as sample
from secateur import size_text as size
from secateur import time_text as time

__all__ = ["count", "percent", "sample", "shape", "size", "time"]
