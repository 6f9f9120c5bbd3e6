"""Zarr stores that survive: where they lie, who writes them, what is written and what is done."""
