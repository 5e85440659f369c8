"""Reviews by people: what is queued for them, what they decided, and how right the answers were."""
