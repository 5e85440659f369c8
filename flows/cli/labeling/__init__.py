"""Libraries, labels by them, and reviews of these."""
