"""Core results made visible: pictures, tables, terminal drawings."""
