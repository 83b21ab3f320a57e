"""Pictures of nothing: random images that have the statistics of photographs. No file is read."""
