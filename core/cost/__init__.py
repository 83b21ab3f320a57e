"""Cost: operations, parameters and time of a network, also for a removal that is only planned."""
