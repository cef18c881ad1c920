"""Bytes to core types and back: images, kernels, pipelines, weights, the output folder."""
