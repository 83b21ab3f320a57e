"""Workflows that read and write files: they join the core and the formats."""
