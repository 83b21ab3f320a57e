"""Formats: each reads networks from its files and writes them back."""
