"""Records what the cameras say, as they say it, from their rings to the disk."""
