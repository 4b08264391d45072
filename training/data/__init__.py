"""Samples: what one is made of, and how they reach the trainer: order, loader, waiting time."""
