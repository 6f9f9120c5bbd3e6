"""Super-resolution by networks: any scale, any time, any grid, any point; or one factor, all bands."""

from xsr.operations.super_resolve.continuous import liif
from xsr.operations.super_resolve.explaining import explain
from xsr.operations.super_resolve.fixed import sisr
from xsr.operations.super_resolve.measured import support
from xsr.operations.super_resolve.points import sample
from xsr.operations.super_resolve.sharpening import sharpen

__all__ = ["explain", "liif", "sample", "sharpen", "sisr", "support"]
