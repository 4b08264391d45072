"""The Qt viewer: a widget a file."""
