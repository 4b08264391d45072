"""Event representations, networks, restorers, and the engine that runs them."""
