"""Data in Caffe's forms: lists of images, databases of `Datum`, HDF5 files, mean images."""
