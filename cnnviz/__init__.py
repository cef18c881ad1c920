"""cnnviz: see what a convolutional network does to your own picture."""

__version__ = "0.1.0"
