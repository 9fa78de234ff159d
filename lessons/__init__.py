"""The lessons, the exercises, and what checks them: `python -m lessons`."""
