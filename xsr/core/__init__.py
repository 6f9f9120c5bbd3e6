"""Foundations without opinions on models: errors, sensors, grids, block plans, graphs and the cube contract."""
