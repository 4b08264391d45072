"""Prophesee cameras: EVK4 and EVK3 HD through neuromorphic-drivers, others through the vendor's own SDK."""
