"""Patch pairs -> objective -> weights and card."""
