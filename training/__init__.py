"""Synthetic and recorded data sets, losses, recipes, evaluation. Never imported by a live path."""
