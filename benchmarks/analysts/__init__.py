"""A database of many clips, and how long the documented questions of analysts take on it."""
