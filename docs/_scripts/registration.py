"""Error of `register` on simulated frames, for the page on preparing a series: clear, and under clouds.

Run: ``python docs/_scripts/registration.py``. Prints the root mean square error in pixels.
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter

import xsr
from xsr.testing import synthetic_cube

SHIFTS = np.array(
    [[0, 0], [0.104, -0.213], [0.257, 0.308], [-0.506, 0.493], [0.77, -1.105], [1.503, 0.4], [-2.3, 1.9], [3, -3]]
)
"""Displacement of the frames down and right in pixels."""


def frames(seed, side):
    """Frames of one scene with noise, the later ones brighter."""
    high = synthetic_cube(seed=seed, size=(side, side), gsd_m=5.0, bands=("B04", "B08"))
    cube = xsr.semi_simulate(high, scale=2, frames=len(SHIFTS), shift_px=SHIFTS, noise="sensor", seed=seed)
    light = 1.4 * cube + 0.03
    light[0] = cube[0]
    return light


def errors_px(cube, cover, seed):
    """Errors of all frames but the first, with a share of each under clouds."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((len(SHIFTS), *cube.shape[2:])), (0, 12, 12))
    clear = field <= np.quantile(field, 1 - cover, axis=(1, 2), keepdims=True)
    out = cube.where(cube[:, 0].copy(data=clear)).sr.register()
    found = np.stack([-out.shift_y_m, out.shift_x_m], axis=1) / 10
    return found[1:] - SHIFTS[1:]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a small input, to check that it runs")
    seeds, side = ((1,), 128) if parser.parse_args().small else ((1, 2, 3), 512)
    scenes = [frames(seed, side) for seed in seeds]
    for cover in (0.0, 0.2, 0.5):
        errors = np.concatenate([errors_px(cube, cover, seed) for seed, cube in enumerate(scenes)])
        print(f"{cover:.0%} clouds: {np.sqrt((errors**2).mean()):.3f} px, at most {np.abs(errors).max():.2f}")


if __name__ == "__main__":
    main()
