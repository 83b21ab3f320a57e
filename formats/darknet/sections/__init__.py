"""One file a section type; the registry finds them by itself."""
