"""Cost: operations, parameters and time of a network, also before channels leave."""
