"""A tiny network with its card, and small cubes: what the tests of models, operations and training share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from safetensors.torch import save_file

from xsr.models import registry
from xsr.models.architectures.carn import CARN
from xsr.models.architectures.injection import Injection
from xsr.models.architectures.liif import LIIF
from xsr.models.card import ModelCard, fields_of, file_sha256, from_fields, write_card
from xsr.models.channels import Channels

BANDS = ("B02", "B03", "B04", "B08")
MEAN = (0.05, 0.08, 0.09, 0.26)
STD = (0.03, 0.04, 0.07, 0.08)

TEMPORAL = {"channels": 4, "outputs": 4, "features": 8, "blocks": 1, "hidden": [16, 16], "heads": 2, "periods": 4}
TEMPORAL |= {"mean": "linear", "blend": True}


def lively(network: LIIF, seed: int = 0, gain: float = 1.0) -> LIIF:
    """Random weights that keep the variance through the layers, so that every pixel of the reach matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            fan = tensor[0].numel() if tensor.ndim > 1 else 100.0
            factor = gain * (2.0 / fan) ** 0.5 if tensor.ndim > 1 else 0.1
            tensor.copy_(factor * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
            if (
                name.startswith("imnet")
                and tensor.ndim > 1
                and tensor.shape[0] == network.imnet.layers[-1].out_features
            ):
                tensor.mul_(0.5)
    return network


def write_model(
    folder: Path,
    *,
    name: str = "tiny",
    bands: tuple[str, ...] = BANDS,
    optional: tuple[str, ...] = ("B08",),
    zero: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    """Write a tiny LIIF (features 8, one block) and its card; ``zero`` makes it answer nothing but zeros."""
    count = len(bands)
    config = {"channels": count, "outputs": count, "features": 8, "blocks": 1, "hidden": [16, 16]}
    network = lively(LIIF(**config), seed)
    if zero:
        torch.nn.init.zeros_(network.imnet.layers[-1].weight)
        torch.nn.init.zeros_(network.imnet.layers[-1].bias)
    path = folder / f"{name}.safetensors"
    save_file({key: value.to(dtype).contiguous() for key, value in network.state_dict().items()}, path)
    write_card(card_of(network, path, config, bands, optional), path)
    return path


def write_optical(network: LIIF, config: dict, folder: Path) -> Path:
    """Write a network for the bands of any optical sensor, and its card."""
    path = folder / "tiny_optical.safetensors"
    save_file(network.state_dict(), path)
    card = ModelCard(
        name=path.stem,
        summary="Any band.",
        architecture="liif",
        config=config,
        image=Channels(("any",), (0.0,), (1.0,)),
        sensor="any",
        gsd_m=1.0,
        scale_range=(1.0, 4.0),
        mtf=(),
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=network.radius,
        licence="CC-BY-4.0",
        sharpness="sensor",
        reads="each",
    )
    write_card(card, path)
    return path


def card_of(
    network: LIIF | CARN, path: Path, config: dict, bands: tuple[str, ...], optional: tuple[str, ...]
) -> ModelCard:
    """Card of a tiny network."""
    return from_fields(
        name=path.stem,
        summary="A tiny random network.",
        architecture="liif",
        config=config,
        bands=bands,
        optional=optional,
        sensor="sentinel-2",
        gsd_m=10.0,
        mean=MEAN[: len(bands)],
        std=STD[: len(bands)],
        scale_range=(1.0, 4.0),
        mtf=(0.3,) * len(bands),
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=network.radius,
        licence="CC0-1.0",
    )


def write_temporal(folder, *, zero=False):
    """Write a tiny temporal LIIF and its card; ``zero`` leaves the time-linear mean alone."""
    network = registry.create("temporal_liif", **TEMPORAL)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name != "fusion.log_reach":
                fan = tensor[0].numel() if tensor.ndim > 1 else 100
                tensor.copy_((2 / fan) ** 0.5 * torch.randn(tensor.shape, generator=generator))
        if zero:
            for name, tensor in network.named_parameters():
                if name.startswith(("gate", "fusion.output", "imnet.layers.4")):
                    tensor.zero_()
    path = folder / "timely.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    card = from_fields(
        name="timely",
        summary="A tiny random network of time.",
        architecture="temporal_liif",
        config=TEMPORAL,
        bands=BANDS,
        optional=("B08",),
        sensor="sentinel-2",
        gsd_m=10.0,
        mean=MEAN,
        std=STD,
        scale_range=(1.0, 4.0),
        mtf=(0.3,) * 4,
        sha256=file_sha256(path),
        parameters=sum(p.numel() for p in network.parameters()),
        radius=network.radius,
        licence="CC0-1.0",
    )
    write_card(card, path)
    return path


def geobox(height: int, width: int, gsd: float = 10.0, crs: str = "EPSG:32631") -> GeoBox:
    """North-up grid with its corner at a round place."""
    return GeoBox((height, width), Affine(gsd, 0, 600_000, 0, -gsd, 5_700_000), crs)


def make_cube(
    height: int = 14,
    width: int = 13,
    *,
    dates: int = 1,
    bands: tuple[str, ...] = BANDS,
    seed: int = 0,
    chunks: int | None = None,
) -> xr.DataArray:
    """Random reflectance around the means of the bands, dims (time, band, y, x)."""
    rng = np.random.default_rng(seed)
    mean = np.resize(MEAN, len(bands))[:, None, None]
    std = np.resize(STD, len(bands))[:, None, None]
    values = mean + std * rng.standard_normal((dates, len(bands), height, width))
    times = np.datetime64("2024-06-01", "ns") + np.arange(dates) * np.timedelta64(5, "D")
    cube = xr.DataArray(
        values.astype(np.float32),
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": list(bands), **xr_coords(geobox(height, width))},
        name="reflectance",
    )
    return cube if chunks is None else cube.chunk(time=1, y=chunks, x=chunks)


FIXED = {"bands": 4, "cascades": 1, "blocks": 1, "features": 4, "groups": 2}
"""Settings of a tiny CARN; its radius is 5."""


def lively_carn(seed: int = 0, **config: object) -> CARN | Injection:
    """Tiny CARN with random weights that keep the variance through the layers; an `Injection` if it has ``guides``."""
    network = (Injection if "guides" in config else CARN)(**{**FIXED, **config})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.parameters():
            fan = tensor[0].numel() if tensor.ndim > 1 else 100.0
            tensor.copy_((1.5 / fan) ** 0.5 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


def write_fixed(folder: Path, *, name: str = "small", zero: bool = False, seed: int = 0, **fields: object) -> Path:
    """Write a tiny CARN and its card; ``zero`` makes it answer nothing but zeros, ``fields`` are those of the card."""
    network = lively_carn(seed, **fields.get("config", {}))
    if zero:
        torch.nn.init.zeros_(network.output_conv2.weight)
        torch.nn.init.zeros_(network.output_conv2.bias)
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    architecture = "carn_1x1x4g2_injection" if isinstance(network, Injection) else "carn_1x1x4g2"
    config = {**FIXED, **fields.pop("config", {})}
    card = replace(
        card_of(network, path, config, BANDS, ()),
        architecture=architecture,
        scale_range=(float(network.factor),) * 2,
        factor=network.factor,
        residual=False,
    )
    write_card(changed(card, **fields), path)
    return path


def changed(card: ModelCard, **fields: object) -> ModelCard:
    """Card with other values in some fields, as its JSON names them."""
    return from_fields(**{**fields_of(card), **fields})
