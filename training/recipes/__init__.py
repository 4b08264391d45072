"""Recipes that come with the program; see `training.recipe`."""
