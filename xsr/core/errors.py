"""The exception tree of xsr.

Every message says what was given, what is required and what to do. The classes also derive from the
built-in exception a caller would expect, so ``except ValueError`` keeps working.
"""


class XsrError(Exception):
    """Base class of every error raised on purpose by xsr."""


class CubeError(XsrError, ValueError):
    """The cube breaks the contract: dimensions, coordinates, units or emptiness."""


class GridError(CubeError):
    """The cube has no usable grid, or the target grid cannot be reached from it."""


class BandError(XsrError, ValueError):
    """A band is unknown, missing or given twice."""


class ParameterError(XsrError, ValueError):
    """An argument is out of range, or arguments contradict one another."""


class ModelError(XsrError, ValueError):
    """A model is unknown, or its weights do not belong to it."""


class WeightsError(ModelError):
    """A weight file is missing, damaged or not the one its card describes."""


class ProductError(XsrError, OSError):
    """A product of a satellite is damaged, incomplete or not what it claims."""


class HarmonisationError(XsrError, ValueError):
    """It is not known, or contradictory, how the numbers of a product become reflectance."""


class StoreError(XsrError, OSError):
    """An output store exists already, or cannot be written as requested."""


class XsrWarning(UserWarning):
    """Something is unusual, and the result may not be what was meant."""


class NotAvailableError(XsrError, NotImplementedError):
    """The feature belongs to the public interface but this version does not have it yet."""
