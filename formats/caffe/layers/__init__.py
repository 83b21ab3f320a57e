"""One file a layer type; the registry finds them by itself."""
