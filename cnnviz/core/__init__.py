"""Numbers: the standard library and NumPy, nothing else."""
