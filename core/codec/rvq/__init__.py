"""Codecs of other makers as transformers has them: residual vector quantization at one frame rate."""
