"""Verbs: cube in, lazy cube out. Operations never import one another."""
