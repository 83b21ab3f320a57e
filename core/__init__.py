"""The pruning core: graph, channels, plans, edits and verification, with no file format in it."""
