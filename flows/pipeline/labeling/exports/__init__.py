"""Answers of a night as files of its results."""
