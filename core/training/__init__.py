"""How the small models and everything they stand on are made; nothing here is needed to use them."""
