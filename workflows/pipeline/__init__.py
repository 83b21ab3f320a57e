"""A pipeline: from a model to a smaller one in steps, each kept until its inputs change."""
