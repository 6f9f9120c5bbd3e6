"""A metric of one's own: the correlation of a cube with its reference, computed beside those of the library.

Run it with ``python examples/own_metric.py``; ``--small`` takes a smaller cube.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import xsr
from xsr.testing import synthetic_pair

MOMENTS = ("x", "y", "xx", "yy", "xy")


def moments(pixels: xsr.Pixels) -> list[NDArray[np.float64]]:
    """Five numbers of every pixel; their means over all pixels of a band are what the correlation is made of."""
    x, y = pixels.image.astype(np.float64), pixels.reference.astype(np.float64)
    return [x, y, x * x, y * y, x * y]


def correlation(means: xsr.Means) -> NDArray[np.float64]:
    """Pearson's coefficient from the means, for all bands and strata at once."""
    x, y, xx, yy, xy = (means[name] for name in MOMENTS)
    return np.asarray((xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y)), np.float64)


def main(side: int) -> None:
    """Register the metric and compute it block by block: of the whole image, and where it is flat or steep."""
    xsr.register_metric(xsr.Metric("correlation", "1", "Pearson correlation", xsr.Terms(MOMENTS, moments), correlation))
    pair = synthetic_pair(size=(side, side), high_gsd_m=5)
    fine = pair.low.chunk(y=32, x=32).sr.interpolate(scale=2)
    scores = fine.sr.evaluate(pair.high, metrics=["correlation", "rmse"])
    strata = fine.sr.strata(pair.high, metrics=["correlation"])
    print("band   correlation     rmse   correlation, flat to steep")
    for band in scores["band"].values:
        one, steps = scores.sel(band=band).squeeze(), strata["correlation"].sel(band=band).values.ravel()
        steep = " ".join(f"{value:6.3f}" for value in steps)
        print(f"{band!s:<6} {float(one['correlation']):11.4f} {float(one['rmse']):8.4f}   {steep}")


if __name__ == "__main__":
    main(64 if "--small" in sys.argv else 256)
