"""Which programs open a store, by its format: measured by docs/_scripts/readers.py."""

SHARED = "xarray, zarr-python, rioxarray, odc-geo"
"""Readers of both formats."""


def readers_of(zarr_format: int, *, levels: bool = False) -> str:
    """Name in one line what opens a store, and what does not.

    Parameters
    ----------
    zarr_format
        Format of the store.
    levels
        Whether it has overviews: GDAL before 3.13 opens one of its groups at a time.

    Examples
    --------
    >>> readers_of(2)
    'xarray, zarr-python, rioxarray, odc-geo; GDAL, rasterio and QGIS'
    """
    if zarr_format == 2:
        return f"{SHARED}; GDAL, rasterio and QGIS{' (its folder 0)' if levels else ''}"
    return f"{SHARED}; not GDAL before 3.13, thus not rasterio 1.5 nor QGIS 4.0: zarr_format=2 opens there"
