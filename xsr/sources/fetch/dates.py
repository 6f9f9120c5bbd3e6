"""Dates as a store holds them: datasets of one date, their labels, and many of them as one axis without pixels."""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from xsr.core import graph
from xsr.core.grid import crs_name

TIME = {"units": "microseconds since 1970-01-01", "dtype": "int64"}
"""Encoding of time: STAC gives fractions of a second."""


def plain(cube: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """Cube as stored: one date and all bands in a chunk, what does not lie over pixels in memory, labels as text."""
    if isinstance(cube, xr.DataArray):
        attrs = {name: value for name, value in cube.attrs.items() if not name.startswith("dropped_")}
        cube = cube.copy(deep=False)
        cube.attrs = attrs
        cube = cube.to_dataset().assign_attrs(attrs)
    dataset = cube.chunk({"time": 1, "band": -1}).drop_encoding()
    over = pixels(dataset)
    small = graph.loaded({name: one for name, one in dataset.coords.items() if name not in over})
    dataset = dataset.assign_coords(
        {n: one.astype(object) if one.dtype.kind in "UT" else one for n, one in small.items()}
    )
    for dim in dataset.odc.spatial_dims:  # in one spelling: a CRS keeps that of the image or store that it came from
        dataset[dim].attrs["crs"] = crs_name(dataset.odc.geobox)
    dataset["time"].encoding = dict(TIME)
    return dataset


def pixels(dataset: xr.Dataset) -> list[Hashable]:
    """Variables and coordinates that lie over pixels."""
    spatial = set(dataset.odc.spatial_dims)
    return [name for name, variable in dataset.variables.items() if spatial <= set(variable.dims)]


def labels(dataset: xr.Dataset) -> xr.Dataset:
    """Dates without their pixels."""
    return dataset.drop_vars(pixels(dataset))


def axis(dates: Sequence[xr.Dataset], like: xr.Dataset) -> xr.Dataset:
    """Dates as one dataset, whose pixels are placeholders.

    Parameters
    ----------
    dates
        Labels of each.
    like
        Dataset with pixels, of any date.
    """
    import dask.array as da

    joined: xr.Dataset = xr.concat(
        list(dates), "time", data_vars="minimal", coords="minimal", compat="override", join="override",
        combine_attrs="override",
    )  # fmt: skip
    joined["time"].encoding = dict(TIME)
    blank = {}
    for name in pixels(like):
        one = like[name].variable
        shape = (len(dates), *one.shape[1:])
        chunks = (1, *(sizes[0] for sizes in (one.chunks or ())[1:]))
        blank[name] = (one.dims, da.zeros(shape, dtype=one.dtype, chunks=chunks), one.attrs)
    data = {name: blank.pop(name) for name in list(blank) if name in like.data_vars}
    return joined.assign(data).assign_coords(blank)


def filled(held: xr.Dataset, late: xr.Dataset) -> xr.Dataset:
    """Fill the holes of a date with the pixels of tiles that came later.

    Masks follow the pixels, labels name both.
    """
    time = late["time"].values
    late = late.assign_coords({dim: held[dim].variable for dim in held.dims})
    image = next(iter(held.data_vars))
    holes = held[image].isnull()
    out = late.copy()
    for name in pixels(held):
        hole = holes if name == image else holes.all("band")
        out[name] = held[name].where(~hole, late[name]).astype(held[name].dtype).assign_attrs(held[name].attrs)
    for name in ("processing_baseline", "product_id", "offset_source"):
        both = dict.fromkeys([str(held[name].item()), str(late[name].item())])
        out[name] = out[name].copy(data=np.array(["; ".join(both)], object))
    out["dn_offset"] = late["dn_offset"].where(late["dn_offset"] == held["dn_offset"])
    return out.assign_coords(time=np.minimum(held["time"].values, time))
