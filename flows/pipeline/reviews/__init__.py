"""Reviews by people: which clips they are asked about, what they decide, and what a library learns of it."""
