"""Caffe: the lossless documents, the layer types, reading and writing."""
