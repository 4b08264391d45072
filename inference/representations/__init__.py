"""What networks see of events: voxel grids, counts, integrals, spikes."""
