"""The pruning core: graph, channels, plans, transforms and proofs, with no file format in it."""
