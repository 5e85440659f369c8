"""The database as analysts ask it: queries, and how to connect."""
