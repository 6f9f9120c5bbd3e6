"""``cube.sr``: picks the operation and passes the cube. No state, no arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from odc.geo.geobox import GeoBox

    from xsr.core.types import XarrayObject
    from xsr.kernels.resample import Method
    from xsr.operations.degrade import Mtf, NativeGsd, Noise, PsfLike
    from xsr.operations.store import Packing, StoreReport


@xr.register_dataset_accessor("sr")  # type: ignore[no-untyped-call]
@xr.register_dataarray_accessor("sr")  # type: ignore[no-untyped-call]
class SuperResolution:
    """Super-resolution of a cube: every method has a functional twin of the same name in `xsr`."""

    def __init__(self, obj: "XarrayObject") -> None:
        self._obj = obj

    def interpolate(
        self,
        *,
        scale: float | None = None,
        resolution: float | None = None,
        like: "XarrayObject | GeoBox | None" = None,
        method: "Method" = "bicubic",
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Interpolate to a finer grid; see `xsr.interpolate`."""
        from xsr.operations.interpolate import interpolate

        return interpolate(
            self._obj,
            scale=scale,
            resolution=resolution,
            like=like,
            method=method,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def liif(
        self,
        *,
        scale: float | None = None,
        resolution: float | None = None,
        like: "XarrayObject | GeoBox | None" = None,
        t: Any = None,
        model: str | Path = "liif_s2",
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        device: str = "auto",
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Super-resolve to any finer grid; see `xsr.liif`."""
        from xsr.operations.super_resolve import liif

        return liif(
            self._obj,
            scale=scale,
            resolution=resolution,
            like=like,
            t=t,
            model=model,
            bands=bands,
            units=units,
            device=device,
            chunks=chunks,
        )

    def sample(
        self,
        *,
        x: "ArrayLike | xr.DataArray",
        y: "ArrayLike | xr.DataArray",
        t: Any = None,
        scale: float = 2.0,
        model: str | Path = "liif_s2",
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        device: str = "auto",
    ) -> "XarrayObject":
        """Evaluate the continuous image at points; see `xsr.sample`."""
        from xsr.operations.super_resolve import sample

        return sample(self._obj, x=x, y=y, t=t, scale=scale, model=model, bands=bands, units=units, device=device)

    def evaluate(
        self,
        reference: "XarrayObject | None",
        *,
        low: "XarrayObject | None" = None,
        data_range: float | None = None,
        metrics: Iterable[str] | None = None,
        scale: float | None = None,
        mtf: float | Mapping[str, float] | None = None,
        border: int = 0,
        mask: xr.DataArray | None = None,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> xr.Dataset:
        """Score this cube against a reference; see `xsr.evaluate`."""
        from xsr.operations.evaluate import evaluate

        return evaluate(
            self._obj,
            reference,
            low=low,
            data_range=data_range,
            metrics=metrics,
            scale=scale,
            mtf=mtf,
            border=border,
            mask=mask,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def strata(
        self,
        reference: "XarrayObject",
        *,
        edges: Sequence[float] | None = None,
        quantiles: int | Sequence[float] | None = None,
        metrics: Iterable[str] | None = None,
        data_range: float | None = None,
        border: int = 0,
        mask: xr.DataArray | None = None,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> xr.Dataset:
        """Score this cube by the gradient of the reference; see `xsr.strata`."""
        from xsr.operations.strata import strata

        return strata(
            self._obj,
            reference,
            edges=edges,
            quantiles=quantiles,
            metrics=metrics,
            data_range=data_range,
            border=border,
            mask=mask,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def spectrum(
        self,
        reference: "XarrayObject",
        *,
        patch: int = 256,
        border: int = 0,
        mask: xr.DataArray | None = None,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> xr.Dataset:
        """Compare this cube with a reference frequency by frequency; see `xsr.spectrum`."""
        from xsr.operations.spectrum import spectrum

        return spectrum(
            self._obj, reference, patch=patch, border=border, mask=mask, bands=bands, units=units, chunks=chunks
        )

    def opensr(
        self,
        reference: "XarrayObject",
        *,
        low: "XarrayObject",
        border: int = 16,
        visible: Sequence[str] | None = None,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
    ) -> xr.Dataset:
        """Score this cube by the opensr-test protocol; see `xsr.opensr`."""
        from xsr.operations.opensr import opensr

        return opensr(self._obj, reference, low=low, border=border, visible=visible, bands=bands, units=units)

    def brisque(
        self,
        *,
        model: str | Path | None = None,
        border: int = 0,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
    ) -> xr.Dataset:
        """Judge this cube without a reference; see `xsr.brisque`."""
        from xsr.operations.brisque import brisque

        return brisque(self._obj, model=model, border=border, bands=bands, units=units)

    def degrade(
        self,
        *,
        scale: float,
        mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
        source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        sensor: str = "sentinel-2",
        noise: "Noise" = None,
        seed: int = 0,
        min_valid: float = 0.5,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Degrade to what a coarser sensor would have seen; see `xsr.degrade`."""
        from xsr.operations.degrade import degrade

        return degrade(
            self._obj,
            scale=scale,
            mtf=mtf,
            psf=psf,
            source_mtf=source_mtf,
            sensor=sensor,
            noise=noise,
            seed=seed,
            min_valid=min_valid,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def wald(
        self,
        *,
        scale: float,
        native_gsd: "NativeGsd" = None,
        mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
        source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        sensor: str = "sentinel-2",
        noise: "Noise" = None,
        seed: int = 0,
        min_valid: float = 0.5,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> "tuple[XarrayObject, XarrayObject]":
        """Make a pair by Wald's protocol; see `xsr.wald`."""
        from xsr.operations.degrade import wald

        return wald(
            self._obj,
            scale=scale,
            native_gsd=native_gsd,
            mtf=mtf,
            psf=psf,
            source_mtf=source_mtf,
            sensor=sensor,
            noise=noise,
            seed=seed,
            min_valid=min_valid,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def semi_simulate(
        self,
        high: "XarrayObject | None" = None,
        *,
        scale: float,
        series: "XarrayObject | None" = None,
        frames: int | None = None,
        shift_px: "float | ArrayLike" = 0.5,
        blur_jitter: float = 0.05,
        change_px: float = 4.0,
        cloud_cover: float = 0.0,
        mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
        sensor: str = "sentinel-2",
        noise: "Noise" = None,
        seed: int = 0,
        min_valid: float = 0.5,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Make the low-resolution frames that a satellite would have taken; see `xsr.semi_simulate`.

        ``series.sr.semi_simulate(high, scale=2)`` and ``high.sr.semi_simulate(scale=2, series=series)`` are the same.
        """
        from xsr.operations.degrade import semi_simulate

        return semi_simulate(
            self._obj if high is None else high,
            scale=scale,
            series=series if high is None else self._obj,
            frames=frames,
            shift_px=shift_px,
            blur_jitter=blur_jitter,
            change_px=change_px,
            cloud_cover=cloud_cover,
            mtf=mtf,
            psf=psf,
            sensor=sensor,
            noise=noise,
            seed=seed,
            min_valid=min_valid,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def to_zarr(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        inner_chunks: int | None = None,
        dtype: "Packing" = "float32",
        zarr_format: Literal[2, 3] = 3,
        progress: bool = True,
    ) -> "StoreReport":
        """Write to a Zarr store, block by block; see `xsr.to_zarr`."""
        from xsr.operations.store import to_zarr

        return to_zarr(
            self._obj,
            path,
            overwrite=overwrite,
            inner_chunks=inner_chunks,
            dtype=dtype,
            zarr_format=zarr_format,
            progress=progress,
        )
