"""Quantization-aware training: the graph that is trained is the graph that is deployed."""
