"""Engines that networks are timed on: one file each, and the process that runs them."""
