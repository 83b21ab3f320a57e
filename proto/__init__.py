"""Message schemas, written from wire facts; they import nothing of secateur."""
