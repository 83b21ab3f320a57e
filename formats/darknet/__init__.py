"""Darknet: the lossless cfg document, the weights stream, and one file for each section type."""
