"""Training images: cut out, mirrored, recoloured and mixed at random, with their labels."""
