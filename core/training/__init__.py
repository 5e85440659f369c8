"""Training of the small models and of everything they need; not needed to use them."""
