"""A restorer wraps a method for use: it declares what it needs and gives pictures back."""
