"""``cube.sr``: picks the operation and passes the cube. No state, no arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from odc.geo.geobox import GeoBox

    from xsr.core.areas import GeometryLike
    from xsr.core.names import BandsLike
    from xsr.core.store.template import Packing
    from xsr.core.store.writing import Errors
    from xsr.core.types import XarrayObject
    from xsr.kernels.optics import Mtf, PsfLike
    from xsr.kernels.resample import Method
    from xsr.kernels.temporal import Temporal
    from xsr.models.precision import Precision
    from xsr.operations.degrade import NativeGsd, Noise
    from xsr.operations.guided.operation import Conserve
    from xsr.operations.guided.operation import Method as GuidedMethod
    from xsr.operations.store import StoreReport
    from xsr.operations.to_cog import CogReport, Compression
    from xsr.operations.to_cog import Packing as CogPacking


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
        t: Any = None,
        method: "Method" = "bicubic",
        temporal: "Temporal" = "linear",
        frames: int = 5,
        window: float | None = None,
        extrapolate: float | None = None,
        bands: "BandsLike | None" = None,
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
            t=t,
            method=method,
            temporal=temporal,
            frames=frames,
            window=window,
            extrapolate=extrapolate,
            bands=bands,
            units=units,
            chunks=chunks,
        )

    def interpolate_time(
        self,
        t: Any,
        *,
        temporal: "Temporal" = "linear",
        frames: int = 5,
        window: float | None = None,
        extrapolate: float | None = None,
        bands: "BandsLike | None" = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Interpolate in time on the cube's own grid; see `xsr.interpolate_time`."""
        from xsr.operations.interpolate import interpolate_time

        return interpolate_time(
            self._obj,
            t,
            temporal=temporal,
            frames=frames,
            window=window,
            extrapolate=extrapolate,
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
        frames: int = 5,
        window: float | None = None,
        extrapolate: float | None = None,
        fill: bool = True,
        model: str | Path | None = None,
        bands: "BandsLike | None" = None,
        units: str | float | None = None,
        device: str = "auto",
        precision: "Precision" = "auto",
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
            frames=frames,
            window=window,
            extrapolate=extrapolate,
            fill=fill,
            model=model,
            bands=bands,
            units=units,
            device=device,
            precision=precision,
            chunks=chunks,
        )

    def sisr(
        self,
        *,
        model: str | Path,
        weights: str | Path | None = None,
        coarse: "XarrayObject | None" = None,
        scale: float | None = None,
        bands: "BandsLike | None" = None,
        units: str | float | None = None,
        device: str = "auto",
        precision: "Precision" = "auto",
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Super-resolve with a network of one fixed factor; see `xsr.sisr`."""
        from xsr.operations.super_resolve import sisr

        return sisr(
            self._obj,
            model=model,
            weights=weights,
            coarse=coarse,
            scale=scale,
            bands=bands,
            units=units,
            device=device,
            precision=precision,
            chunks=chunks,
        )

    def native(
        self,
        *,
        crs: Any = None,
        gsd: float | Sequence[float] | None = None,
        bands: Sequence[str] | None = None,
        units: str | float | None = None,
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Give back the sensor's own pixels of a cube resampled by nearest neighbour; see `xsr.native`."""
        from xsr.operations.native import native

        return native(self._obj, crs=crs, gsd=gsd, bands=bands, units=units, chunks=chunks)

    def guided(
        self,
        guide: "XarrayObject",
        *,
        scale: float | None = None,
        resolution: float | None = None,
        like: "XarrayObject | GeoBox | None" = None,
        model: str | Path | None = None,
        method: "GuidedMethod | None" = None,
        conserve: "Conserve | None" = None,
        limits: tuple[float, float] | None = None,
        coregister: bool = False,
        tolerance: float = 16.0,
        units: str | None = None,
        guide_bands: Sequence[str] | None = None,
        guide_units: str | float | None = None,
        guide_sensor: str = "sentinel-2",
        device: str = "auto",
        chunks: int | Sequence[int] | None = None,
    ) -> "XarrayObject":
        """Sharpen a temperature by an optical image of finer pixels; see `xsr.guided`."""
        from xsr.operations.guided import guided

        return guided(
            self._obj,
            guide,
            scale=scale,
            resolution=resolution,
            like=like,
            model=model,
            method=method,
            conserve=conserve,
            limits=limits,
            coregister=coregister,
            tolerance=tolerance,
            units=units,
            guide_bands=guide_bands,
            guide_units=guide_units,
            guide_sensor=guide_sensor,
            device=device,
            chunks=chunks,
        )

    def sample(
        self,
        *,
        x: "ArrayLike | xr.DataArray",
        y: "ArrayLike | xr.DataArray",
        t: Any = None,
        frames: int = 5,
        window: float | None = None,
        extrapolate: float | None = None,
        fill: bool = True,
        scale: float = 2.0,
        model: str | Path | None = None,
        bands: "BandsLike | None" = None,
        units: str | float | None = None,
        device: str = "auto",
        precision: "Precision" = "auto",
    ) -> "XarrayObject":
        """Evaluate the continuous image at points; see `xsr.sample`."""
        from xsr.operations.super_resolve import sample

        return sample(
            self._obj,
            x=x,
            y=y,
            t=t,
            frames=frames,
            window=window,
            extrapolate=extrapolate,
            fill=fill,
            scale=scale,
            model=model,
            bands=bands,
            units=units,
            device=device,
            precision=precision,
        )

    def evaluate(
        self,
        reference: "XarrayObject | None",
        *,
        low: "XarrayObject | None" = None,
        data_range: float | None = None,
        metrics: str | Iterable[str] | None = None,
        scale: float | None = None,
        mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
        source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        sensor: str | None = None,
        border: int = 0,
        mask: xr.DataArray | None = None,
        bands: "BandsLike | None" = None,
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
            psf=psf,
            source_mtf=source_mtf,
            sensor=sensor,
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
        metrics: str | Iterable[str] | None = None,
        data_range: float | None = None,
        scale: float | None = None,
        mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        psf: "PsfLike | Mapping[str, PsfLike]" = "gaussian",
        source_mtf: "Mtf | Mapping[str, Mtf] | None" = None,
        sensor: str | None = None,
        border: int = 0,
        mask: xr.DataArray | None = None,
        bands: "BandsLike | None" = None,
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
            scale=scale,
            mtf=mtf,
            psf=psf,
            source_mtf=source_mtf,
            sensor=sensor,
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
        bands: "BandsLike | None" = None,
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
        visible: str | Sequence[str] | None = None,
        bands: "BandsLike | None" = None,
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
        bands: "BandsLike | None" = None,
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
        sensor: str | None = None,
        noise: "Noise" = None,
        seed: int = 0,
        min_valid: float = 0.5,
        bands: "BandsLike | None" = None,
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
        sensor: str | None = None,
        noise: "Noise" = None,
        seed: int = 0,
        min_valid: float = 0.5,
        bands: "BandsLike | None" = None,
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
        sensor: str | None = None,
        noise: "Noise" = None,
        seed: int = 0,
        min_valid: float = 0.5,
        bands: "BandsLike | None" = None,
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

    def mask_clouds(
        self,
        *,
        mask: xr.DataArray | str | None = None,
        exclude: str | int | Sequence[str | int] | None = None,
        dilate_m: float = 0.0,
        units: str | float | None = None,
    ) -> "XarrayObject":
        """Set clouds, cloud shadows and defects to no data; see `xsr.mask_clouds`."""
        from xsr.operations.mask_clouds import mask_clouds

        return mask_clouds(self._obj, mask=mask, exclude=exclude, dilate_m=dilate_m, units=units)

    def clip(
        self,
        geometry: "GeometryLike",
        *,
        crs: str | int = "EPSG:4326",
        all_touched: bool = False,
        units: str | float | None = None,
    ) -> "XarrayObject":
        """Keep an area; see `xsr.clip`."""
        from xsr.operations.clip import clip

        return clip(self._obj, geometry, crs=crs, all_touched=all_touched, units=units)

    def register(
        self,
        *,
        reference: "XarrayObject | None" = None,
        apply: bool = False,
        bands: "BandsLike | None" = None,
        units: str | float | None = None,
    ) -> "XarrayObject":
        """Measure the shifts between dates, and take them out if asked for; see `xsr.register`."""
        from xsr.operations.register import register

        return register(self._obj, reference=reference, apply=apply, bands=bands, units=units)

    def to_cog(
        self,
        path: str | Path,
        *,
        dtype: "CogPacking" = "float32",
        overwrite: bool = False,
        blocksize: int = 512,
        compress: "Compression" = "deflate",
        units: str | float | None = None,
        progress: bool = True,
    ) -> "CogReport":
        """Write to Cloud Optimized GeoTIFF, one file a date; see `xsr.to_cog`."""
        from xsr.operations.to_cog import to_cog

        return to_cog(
            self._obj,
            path,
            dtype=dtype,
            overwrite=overwrite,
            blocksize=blocksize,
            compress=compress,
            units=units,
            progress=progress,
        )

    def to_zarr(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        errors: "Errors" = "raise",
        force: bool = False,
        inner_chunks: int | None = None,
        dtype: "Packing" = "float32",
        zarr_format: Literal[2, 3] = 3,
        storage_options: Mapping[str, Any] | None = None,
        input_id: str | None = None,
        progress: bool = True,
    ) -> "StoreReport":
        """Write to a Zarr store, block by block; see `xsr.to_zarr`."""
        from xsr.operations.store import to_zarr

        return to_zarr(
            self._obj,
            path,
            overwrite=overwrite,
            resume=resume,
            errors=errors,
            force=force,
            inner_chunks=inner_chunks,
            dtype=dtype,
            zarr_format=zarr_format,
            storage_options=storage_options,
            input_id=input_id,
            progress=progress,
        )
