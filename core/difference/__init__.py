"""How two networks differ as they stand in their files, layer by layer, without running them."""
