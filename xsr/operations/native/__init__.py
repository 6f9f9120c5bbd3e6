"""Native pixels: what nearest-neighbour resampling repeated or skipped, put back where the sensor observed it."""

from xsr.operations.native.operation import native

__all__ = ["native"]
