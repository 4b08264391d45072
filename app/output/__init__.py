"""What the program leaves on disk: videos, picture sequences, contact sheets, reports. Whole or not at all."""
