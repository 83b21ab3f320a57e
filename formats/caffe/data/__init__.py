"""Data as Caffe wants it: lists of images, databases of `Datum`, HDF5 files, mean files."""
