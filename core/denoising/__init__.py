"""Networks that take noise out of audio, next to what an LLM answers in context."""
