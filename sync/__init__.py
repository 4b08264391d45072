"""Which events belong to which exposure, on whose pixels, on which clock."""
