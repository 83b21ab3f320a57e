"""Data as Darknet wants it: `.data` files, lists of images, label files, labels in paths."""
