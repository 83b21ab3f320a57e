"""Statistics: second moments of what layers read, and the linear algebra they need."""
