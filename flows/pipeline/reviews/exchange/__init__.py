"""Queues out to where people decide elsewhere, and their decisions back: CSV files and Label Studio."""
