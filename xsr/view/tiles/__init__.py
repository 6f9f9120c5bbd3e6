"""Tiles of Web Mercator, computed from a cube when they are looked at."""

from xsr.view.tiles.engine import Tiles

__all__ = ["Tiles"]
