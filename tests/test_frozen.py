"""Outputs of every packaged model, metric and degradation, held to those of an earlier state of the code.

``python tests/test_frozen.py`` writes them anew, into the file beside this one: only where a change of the numbers is
meant, and then the commit says which changed and why. Inputs are sums of waves and edges, written out here.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import xsr  # noqa: F401  (registers .sr)
from xsr.models import registry

FILE = Path(__file__).with_name("frozen.npz")
TEN = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
KEPT = 20_000
"""Numbers of an output that are kept; of larger ones every n-th."""
TOLERANCE = {"reflectance": (1e-6, 1e-5), "kelvin": (2e-4, 0.0), "score": (1e-20, 1e-6)}
"""Largest difference by kind, and as a share of the value. Processors order the sums of a network in their own ways:
between three kinds up to 9.5e-7 of reflectance and 6e-5 K were measured, the last digits that float32 has. The power at
frequency 0 is rounding alone, 1e-26 and less."""


def waves(side: int, number: int, mean: float, amplitude: float) -> np.ndarray:
    """Image of waves of several lengths and a field with sharp edges, another for each number."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    image = np.zeros((side, side))
    for order, length in enumerate((31.0, 13.0, 6.3, 3.1), start=1):
        angle = 0.7 * number + 1.3 * order
        image += np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length + angle) / (2 * order)
    fields = ((x // 7 + y // 9 + number) % 3) - 1
    return mean + amplitude * (image + 0.5 * fields)


def cube(side: int = 28, bands: tuple[str, ...] = TEN[:4], dates: int = 1, gsd_m: float = 10.0) -> xr.DataArray:
    """Reflectance of some bands and dates, a few days apart."""
    values = [
        [waves(side, 10 * date + number, 0.1 + 0.02 * number, 0.03) for number in range(len(bands))]
        for date in range(dates)
    ]
    return on_grid(np.array(values, np.float32), bands, gsd_m)


def on_grid(values: np.ndarray, bands: tuple[str, ...], gsd_m: float) -> xr.DataArray:
    """Dress values (time, band, y, x)."""
    box = GeoBox(values.shape[2:], Affine(gsd_m, 0, 600_000, 0, -gsd_m, 5_700_000), "EPSG:32631")
    times = np.datetime64("2024-06-01", "ns") + 6 * np.arange(len(values)) * np.timedelta64(1, "D")
    coords = {"time": times, "band": list(bands), **xr_coords(box)}
    return xr.DataArray(values, coords, ("time", "band", "y", "x"), "reflectance")


def clouded(series: xr.DataArray) -> xr.DataArray:
    """Hide a corner of the second date, a strip of the third, and one pixel of one band."""
    values = series.values.copy()
    values[1, :, :9, :14] = np.nan
    values[2, :, 11:15] = np.nan
    values[0, 1, 20, 20] = np.nan
    return series.copy(data=values)


def ten() -> xr.DataArray:
    """Bands of 10 m, and bands of 20 m brought to their grid."""
    return cube(bands=TEN).assign_coords(native_gsd=("band", [10.0] * 4 + [20.0] * 6))


def temperature(factor: int) -> xr.DataArray:
    """Kelvin of pixels of 90 m times a factor."""
    values = waves(24, 3, 300.0, 4.0).astype(np.float32)[None, None]
    return on_grid(values, ("lst",), 90.0 * factor).assign_attrs(units="K")


def guide(factor: int) -> xr.DataArray:
    """Reflectance of 90 m over the extent of `temperature`."""
    return cube(24 * factor, ("B04", "B08", "B11"), gsd_m=90.0)


def pair() -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return a truth, an image that differs from it, and the low-resolution image of both."""
    high = cube(48, gsd_m=5.0)
    low = high.sr.degrade(scale=2)
    return high, low.sr.interpolate(scale=2), low


def flat(scores: xr.Dataset) -> np.ndarray:
    """Return all numbers of a Dataset, variable by variable."""
    found = [scores[name].values.astype(np.float64).ravel() for name in scores.data_vars]
    return np.concatenate(found)


def wald_low_and_high(**options: object) -> np.ndarray:
    """Both sides of a pair, one after the other."""
    low, high = ten().isel(y=slice(24), x=slice(24)).sr.wald(scale=2, **options)
    return np.concatenate([low.values.ravel(), high.values.ravel()])


EXACT = {"precision": "float32"}
IDEAL = {"psf": "ideal", **EXACT}
"""Of models whose own results are perfectly sharp."""
REFLECTANCE: dict[str, Callable[[], object]] = {
    **{
        f"interpolate {method} x{scale:g}": lambda m=method, s=scale: cube().sr.interpolate(scale=s, method=m)
        for method in ("nearest", "bilinear", "bicubic", "bicubic75", "lanczos3")
        for scale in (2.0, 3.4)
    },
    "interpolate in time": lambda: clouded(cube(dates=4)).sr.interpolate(scale=2, t="2024-06-10", temporal="linear"),
    "liif_s2 x2": lambda: cube().sr.liif(scale=2, **IDEAL),
    "liif_s2 x3.4, ten bands": lambda: ten().sr.liif(scale=3.4, **IDEAL),
    "liif_s2 with gaps": lambda: clouded(cube(dates=3)).sr.liif(scale=2, **IDEAL),
    "liif_s2 at points": lambda: cube().sr.sample(x=[600_053.0, 600_121.5], y=[5_699_911.0, 5_699_800.0], **EXACT),
    "temporal_liif_s2": lambda: clouded(cube(dates=4)).sr.liif(scale=2, t=["2024-06-07", "2024-06-10"], **IDEAL),
    "temporal_liif_s2 without filling": lambda: clouded(cube(dates=4)).sr.liif(
        scale=2.5, t="2024-06-10", fill=False, **IDEAL
    ),
    "temporal_liif_worldstrat": lambda: cube(bands=("B04", "B03", "B02"), dates=3).sr.liif(
        scale=4, t="2024-06-07", model="temporal_liif_worldstrat", **EXACT
    ),
    "liif_s2 as sharp as the sensor": lambda: cube().sr.liif(scale=2, **EXACT),
    "carn_3x3x64g4sw_s2_ideal": lambda: ten().sr.sisr(model="carn_3x3x64g4sw_s2_ideal", **IDEAL),
    "carn_3x3x64g4sw_s2": lambda: ten().sr.sisr(model="carn_3x3x64g4sw_s2", **EXACT),
    "carn_3x2x32g2sw_s2": lambda: ten().sr.sisr(model="carn_3x2x32g2sw_s2", **EXACT),
    "carn_3x1x32g2_s2": lambda: ten().sr.sisr(model="carn_3x1x32g2_s2", **EXACT),
    "liif_s2 with quantiles": lambda: cube().sr.liif(scale=2, quantiles=(0.05, 0.9), **EXACT),
    "liif_optical": lambda: cube().sr.liif(scale=2, model="liif_optical", mtf=0.25, noise=0.002, **EXACT),
    "sharpen_s2": lambda: ten().sr.sharpen(**EXACT),
    **{
        f"degrade {psf} x{scale:g}": lambda p=psf, s=scale: cube().sr.degrade(scale=s, psf=p)
        for psf in ("gaussian", "detector", "effective")
        for scale in (1.5, 2.0, 3.4)
    },
    "degrade x1": lambda: cube().sr.degrade(scale=1),
    "degrade with gaps": lambda: clouded(cube(dates=3)).sr.degrade(scale=2),
    "degrade with the noise of the sensor": lambda: cube().sr.degrade(scale=2, noise="sensor", seed=3),
    "wald": lambda: wald_low_and_high(native_gsd="grid", psf="gaussian"),
    "wald of ten bands": lambda: wald_low_and_high(native_gsd="sensor", psf="gaussian"),
    "wald, self-similar": lambda: wald_low_and_high(native_gsd="sensor"),
    "semi_simulate": lambda: cube(48, gsd_m=5.0).sr.semi_simulate(scale=2, frames=3, noise="sensor", seed=5),
}
KELVIN: dict[str, Callable[[], object]] = {
    **{
        f"{model} x{factor}": lambda m=model, f=factor: temperature(f).sr.guided(guide(f), model=m)
        for model in ("dctnet_lst", "dctrrdbnet_lst", "jiif_lst")
        for factor in (4, 8)
    },
    "dctnet_modis_lst": lambda: temperature(4).sr.guided(guide(4), model="dctnet_modis_lst"),
    "esrnet_lst": lambda: temperature(4).sr.guided(guide(4), model="esrnet_lst"),
    "esrnet_x8_lst": lambda: temperature(8).sr.guided(guide(8), model="esrnet_x8_lst"),
    "guided filter": lambda: temperature(4).sr.guided(guide(4), method="guided_filter"),
    "tsharp": lambda: temperature(4).sr.guided(guide(4), method="tsharp"),
    "radiance conserved": lambda: temperature(4).sr.guided(guide(4), conserve="radiance"),
    "radiance conserved within a response": lambda: temperature(4).sr.guided(guide(4), conserve="radiance", mtf=0.3),
}
SCORES: dict[str, Callable[[], object]] = {
    "evaluate": lambda: flat(pair()[1].sr.evaluate(pair()[0], low=pair()[2], data_range=1.0).compute()),
    "strata": lambda: flat(pair()[1].sr.strata(pair()[0], data_range=1.0).compute()),
    "spectrum": lambda: flat(pair()[1].sr.spectrum(pair()[0]).compute()),
    "opensr": lambda: flat(pair()[1].sr.opensr(pair()[0], low=pair()[2], border=4).compute()),
    "brisque": lambda: flat(cube(96).sr.brisque()[["features"]].compute()),
}
KINDS = {"reflectance": REFLECTANCE, "kelvin": KELVIN, "score": SCORES}
CASES = [(kind, name) for kind, cases in KINDS.items() for name in cases]


def output(kind: str, name: str) -> np.ndarray:
    """Compute one output: an array, a cube, or a Dataset of one variable."""
    found = KINDS[kind][name]()
    if isinstance(found, xr.Dataset):
        found = found.to_dataarray()
    values = np.asarray(found.values if isinstance(found, xr.DataArray) else found)
    values = values.astype(np.float64 if kind == "score" else np.float32).ravel()
    return values[:: -(-values.size // KEPT)]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    """Outputs of the earlier state."""
    with np.load(FILE) as archive:
        return {name: archive[name] for name in archive.files}


def test_every_case_is_frozen(frozen: dict[str, np.ndarray]) -> None:
    assert set(frozen) == {name for _, name in CASES}


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[name for _, name in CASES])
def test_outputs_are_those_of_the_earlier_state(kind: str, name: str, frozen: dict[str, np.ndarray]) -> None:
    if name in registry.APART and name not in registry.names():
        pytest.skip("its weights are a distribution of their own, and not installed")
    found, wanted = output(kind, name), frozen[name]
    absolute, relative = TOLERANCE[kind]
    np.testing.assert_allclose(found, wanted, rtol=relative, atol=absolute)


if __name__ == "__main__":
    np.savez_compressed(FILE, **{name: output(kind, name) for kind, name in CASES})
