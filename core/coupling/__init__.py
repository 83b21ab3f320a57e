"""Which channels must be removed together: the graph runs on labels, which unite into groups."""

from .groups import Group, Groups, find_groups
from .reasons import Kind, Reason

__all__ = ["Group", "Groups", "Kind", "Reason", "find_groups"]
