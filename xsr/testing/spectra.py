"""What surfaces are made of: spectra, materials with their seasons and texture, shade and clouds.

Plain tables of typical values in the order of the ten Sentinel-2 bands at 10 m and 20 m; they describe no
particular place.
"""

from __future__ import annotations

from typing import NamedTuple

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SHADE = (0.34, 0.28, 0.23, 0.22, 0.19, 0.18, 0.17, 0.16, 0.09, 0.07)  # Diffuse share of the light.
CLOUD = (0.62, 0.60, 0.60, 0.61, 0.62, 0.62, 0.63, 0.63, 0.42, 0.32)

# Reflectance of B02 B03 B04 B05 B06 B07 B08 B8A B11 B12; typical values, not measurements of a place.
SPECTRA: dict[str, tuple[float, ...]] = {
    "crop": (0.026, 0.058, 0.027, 0.088, 0.310, 0.405, 0.445, 0.470, 0.200, 0.092),
    "maize": (0.028, 0.055, 0.030, 0.080, 0.250, 0.330, 0.365, 0.390, 0.195, 0.095),
    "grass": (0.036, 0.072, 0.043, 0.108, 0.275, 0.340, 0.370, 0.395, 0.230, 0.120),
    "flower": (0.042, 0.140, 0.115, 0.180, 0.360, 0.430, 0.460, 0.470, 0.240, 0.130),
    "soil": (0.082, 0.110, 0.140, 0.155, 0.168, 0.178, 0.192, 0.205, 0.275, 0.235),
    "straw": (0.085, 0.120, 0.165, 0.195, 0.220, 0.240, 0.265, 0.285, 0.345, 0.240),
    "broadleaf": (0.019, 0.040, 0.022, 0.062, 0.220, 0.295, 0.325, 0.345, 0.150, 0.068),
    "twigs": (0.036, 0.047, 0.054, 0.070, 0.092, 0.105, 0.120, 0.135, 0.155, 0.105),
    "conifer": (0.017, 0.027, 0.019, 0.042, 0.115, 0.148, 0.165, 0.175, 0.078, 0.036),
    "litter": (0.030, 0.038, 0.046, 0.056, 0.070, 0.080, 0.092, 0.102, 0.125, 0.085),
    "water": (0.032, 0.038, 0.026, 0.021, 0.015, 0.013, 0.011, 0.010, 0.006, 0.004),
    "asphalt": (0.078, 0.088, 0.097, 0.102, 0.106, 0.109, 0.115, 0.120, 0.140, 0.130),
    "concrete": (0.145, 0.170, 0.192, 0.202, 0.208, 0.213, 0.222, 0.230, 0.275, 0.255),
    "sand": (0.115, 0.148, 0.182, 0.198, 0.208, 0.215, 0.228, 0.242, 0.310, 0.275),
    "tile": (0.062, 0.078, 0.150, 0.185, 0.200, 0.207, 0.217, 0.227, 0.270, 0.235),
    "slate": (0.058, 0.064, 0.069, 0.072, 0.075, 0.077, 0.080, 0.085, 0.092, 0.090),
    "metal": (0.225, 0.240, 0.250, 0.254, 0.257, 0.260, 0.264, 0.268, 0.250, 0.225),
}


class Material(NamedTuple):
    """What a surface is made of, how its green cover goes through the year, and its texture."""

    green: str
    ground: str
    summer: float = 0.0  # Green cover added by the growing season.
    winter: float = 0.0  # Green cover outside it (of winter crops until the harvest).
    start: float = 110.0  # Middle of the green-up, day of the year.
    end: float = 280.0  # Middle of the senescence or harvest, day of the year.
    harvest: float = 0.0  # Days that straw stays on the field; 0 where nothing is harvested.
    flower: float = 0.0  # Day of full flower; 0 where it does not show.
    coarse: float = 0.05  # Texture of 40 m and more.
    fine: float = 0.05  # Texture of 3 m to 14 m.
    rows: float = 0.0  # Contrast of tramlines and working passes.
    spread: float = 0.08  # Between objects of the material, of brightness.


MATERIALS: dict[str, Material] = {
    "wheat": Material("crop", "soil", 0.60, 0.35, 88, 196, 40, coarse=0.13, fine=0.03, rows=0.07, spread=0.16),
    "barley": Material("crop", "soil", 0.55, 0.40, 80, 180, 30, coarse=0.13, fine=0.03, rows=0.07, spread=0.16),
    "rape": Material("crop", "soil", 0.45, 0.50, 75, 188, 30, 120, 0.10, 0.03, 0.08, 0.16),
    "maize": Material("maize", "soil", 0.92, 0.0, 168, 268, 35, coarse=0.15, fine=0.03, rows=0.05, spread=0.20),
    "beet": Material("crop", "soil", 0.95, 0.0, 160, 300, 5, coarse=0.12, fine=0.03, rows=0.07, spread=0.20),
    "potato": Material("crop", "soil", 0.88, 0.0, 156, 238, 10, coarse=0.13, fine=0.03, rows=0.09, spread=0.20),
    "oats": Material("crop", "soil", 0.88, 0.0, 118, 208, 35, coarse=0.13, fine=0.03, rows=0.06, spread=0.18),
    "meadow": Material("grass", "soil", 0.25, 0.70, 85, 320, coarse=0.10, fine=0.05, rows=0.03, spread=0.12),
    "verge": Material("grass", "straw", 0.30, 0.50, 95, 270, coarse=0.10, fine=0.12, spread=0.10),
    "garden": Material("grass", "litter", 0.20, 0.55, 95, 300, coarse=0.05, fine=0.28, spread=0.22),
    "broadleaf": Material("broadleaf", "twigs", 0.90, 0.08, 118, 305, coarse=0.08, fine=0.30, spread=0.07),
    "conifer": Material("conifer", "litter", 0.05, 0.90, 110, 290, coarse=0.07, fine=0.30, spread=0.08),
    "tree": Material("broadleaf", "twigs", 0.90, 0.08, 118, 305, coarse=0.0, fine=0.12, spread=0.15),
    "water": Material("broadleaf", "water", coarse=0.04, fine=0.03, spread=0.05),
    "asphalt": Material("grass", "asphalt", fine=0.06, spread=0.12),
    "street": Material("grass", "asphalt", fine=0.10, spread=0.20),
    "track": Material("grass", "sand", 0.15, 0.20, 95, 270, fine=0.12, spread=0.15),
    "yard": Material("grass", "concrete", fine=0.14, spread=0.20),
    "tile": Material("grass", "tile", fine=0.06, spread=0.22),
    "slate": Material("grass", "slate", fine=0.06, spread=0.25),
    "metal": Material("grass", "metal", fine=0.04, spread=0.30),
}

CROPS = ("wheat", "barley", "rape", "maize", "beet", "potato", "oats", "meadow")
CROP_SHARES = (0.24, 0.09, 0.07, 0.17, 0.09, 0.08, 0.05, 0.21)
ROOFS = ("tile", "slate", "metal")
