"""Darknet: the lossless cfg document, the weights stream, and one file a section type."""
