"""Images that a network remembers: made from the statistics of its batch normalisations."""
