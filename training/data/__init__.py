"""How samples reach the trainer: order, loader, waiting time."""
