"""Estimates a rig (geometry and time), checks it, reports it."""
