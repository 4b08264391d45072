"""The simulated rig: a product of its own, not a mock. It knows the truth of everything that it shows."""
