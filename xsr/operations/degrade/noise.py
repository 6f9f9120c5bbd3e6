"""Noise as users give it: numbers, by band, or the sensor's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from xsr.core import checks, sensors
from xsr.core.errors import ParameterError
from xsr.kernels.noise import NoiseModel
from xsr.kernels.optics import by_band


@dataclass(frozen=True)
class SensorNoise:
    """Signal-dependent noise from the published signal-to-noise ratio of a sensor's bands."""

    read_share: float = 0.5
    """Share of the variance at the reference radiance that does not depend on the signal. What is published is the
    total: the split is an assumption."""
    factor: float = 1.0
    """Multiplies the standard deviation."""
    sun_zenith_deg: float = 0.0
    """Zenith angle of the sun, which turns the reference radiance into reflectance."""

    def model(self, band: sensors.Band) -> NoiseModel:
        """Noise of a band in reflectance."""
        if band.noise is None:
            raise ParameterError(
                f"band {band.name!r} has no published signal-to-noise ratio; expected one for noise='sensor'. Give"
                " noise= as standard deviations in reflectance."
            )
        if not 0 <= self.sun_zenith_deg < 90:
            raise ParameterError(f"sun_zenith_deg={self.sun_zenith_deg}; expected an angle from 0 to below 90.")
        reference = band.noise.reflectance(self.sun_zenith_deg)
        return NoiseModel.from_snr(band.noise.ratio / self.factor, reference, read_share=self.read_share)


Noise: TypeAlias = float | Literal["sensor"] | SensorNoise | Mapping[str, "float | NoiseModel"] | None
"""Standard deviation in reflectance, of all bands or by band; or the sensor's own, which depends on the signal."""


def noise_models(names: Sequence[str], noise: Any, sensor: str) -> list[NoiseModel]:
    """Find the noise of each band.

    Raises
    ------
    ParameterError
        If a band has none, or the sensor's table no signal-to-noise ratio for it.
    """
    if isinstance(noise, str) and noise == "sensor":
        noise = SensorNoise()
    if isinstance(noise, SensorNoise):
        table = sensors.get(sensor)
        return [noise.model(table.band(name)) for name in names]
    return [_noise_model(0.0 if noise is None else by_band(noise, name, "noise")) for name in names]


def _noise_model(value: Any) -> NoiseModel:
    if isinstance(value, NoiseModel):
        return value
    if not checks.is_number(value):
        raise ParameterError(
            f"noise={value!r}; expected a standard deviation in reflectance, one by band, 'sensor' or None."
        )
    return NoiseModel(float(value))
