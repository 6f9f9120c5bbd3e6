"""Bands whose wavelengths are known by their edges."""

from xsr.core.sensors.records import Band


def by_edges(name: str, aliases: tuple[str, ...], gsd_m: float, edges_um: tuple[float, float]) -> Band:
    """Band from its shortest and longest wavelength in micrometres; the centre is taken half-way."""
    low, high = edges_um
    centre, width = round(500 * (low + high), 3), round(1000 * (high - low), 3)
    return Band(name, gsd_m=gsd_m, wavelength_nm=centre, bandwidth_nm=width, aliases=aliases)
