"""The graph: networks, the builder that makes them, and functions that copy them with changes."""
