"""Super-resolution of a temperature guided by an optical image of finer pixels."""

from xsr.operations.guided.operation import guided

__all__ = ["guided"]
