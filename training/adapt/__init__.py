"""Fine-tuning of a network on the user's own rig, from recordings without any sharp picture."""
