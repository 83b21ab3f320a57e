"""What networks find in single samples, as people see it: classes, boxes, coloured maps."""
