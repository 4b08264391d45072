"""Is a recording sound, and if not: what can be saved of it."""
