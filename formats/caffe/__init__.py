"""Caffe: the lossless documents, the layer types, and the way there and back."""
