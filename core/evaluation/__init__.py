"""Evaluation of few-shot labeling: episodes of labeled clips, answered by models and by free baselines."""
