"""Solvers: how gradients change weights, and how fast. One file a method or family of rates."""
