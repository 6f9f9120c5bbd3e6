"""A user-defined function of openEO for an operation of one cube: its file, its windows, and what the file calls.

`udf` writes the file, and `neighborhood` says on which windows a back end must run it. The file is short: it calls
`apply_datacube` and `apply_metadata` of this package.
"""

from xsr.openeo.file import udf
from xsr.openeo.running import apply_datacube, apply_metadata
from xsr.openeo.windows import neighborhood

__all__ = ["apply_datacube", "apply_metadata", "neighborhood", "udf"]
