"""Measuring few-shot labelling: episodes of labelled clips, answered by models and by what costs nothing."""
