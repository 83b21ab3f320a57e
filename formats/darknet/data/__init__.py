"""Data in Darknet's forms: `.data` files, lists of images, label files, labels in paths."""
