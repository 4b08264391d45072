"""Cameras, simulated or real: one worker process per camera, items handed on through shared-memory rings."""
