"""Readers against broken and hostile files, by the hundred thousand."""
