"""Queues as projects of Label Studio, and what annotators decided there."""
