"""The door: options in, calls, printed answers. The only place that uses Typer."""
