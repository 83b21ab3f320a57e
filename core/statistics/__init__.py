"""Statistics: second moments of the inputs of layers, and the linear algebra they need."""
