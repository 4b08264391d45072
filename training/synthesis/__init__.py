"""Synthetic exposures with their truth: photos that move, seen by both simulated sensors."""
