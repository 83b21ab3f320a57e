"""Plans: which channels leave, and which steps are legal."""
