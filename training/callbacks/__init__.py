"""What happens around the steps: schedule, averaging, states, logs, previews, progress."""
