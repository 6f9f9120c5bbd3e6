"""Array kernels: ndarrays in, ndarrays out; no xarray, dask or torch."""
