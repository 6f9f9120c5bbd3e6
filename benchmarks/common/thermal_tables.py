"""Tables of sharpened temperatures: the best network against each other method, guides, and what is conserved."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from common.thermal_means import block_pattern, deviation_k, held
from common.thermal_scores import (
    GUIDES,
    MTF,
    NETWORKS,
    OTHERS,
    ROWS,
    UNGUIDED,
    Estimates,
    Pair,
    can,
    parts_db,
    psnr,
    trained,
    trained_on,
)

Image = NDArray[np.float32]
COMPARED = tuple(name for name in ROWS if name not in NETWORKS and name != "bilinear")
"""Rows that a network is compared with."""
KEPT = ("bicubic", "guided filter", "ATPRK", "regression trees")
"""Rows in which radiance is conserved, beside the best network."""
GUIDED = tuple(name for name in COMPARED if name not in UNGUIDED)
"""Rows that read a guide."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float] | NDArray[np.float64], digits: int = 2) -> str:
    """Mean with its standard error."""
    values = np.asarray(values, float)
    error = f" ± {values.std(ddof=1) / np.sqrt(values.size):.{digits}f}" if values.size > 1 else ""
    return f"{values.mean():+.{digits}f}{error}" if values.size else ""


def best(pairs: Sequence[Pair], made: Estimates) -> str:
    """Network with the greatest mean PSNR over pairs, of those that have weights for all."""
    names = [name for name in NETWORKS if all(trained(name, pair.scale) for pair in pairs)]
    return max(names, key=lambda name: np.mean([psnr(pair, made(pair, name)) for pair in pairs]))


def freely(made: Estimates, pair: Pair, name: str) -> Image:
    """Sharpened image that conserves nothing."""
    return made(pair, name)


def within(made: Estimates, pair: Pair, name: str) -> Image:
    """Sharpened image that is held within the response of the sensor; kriging heeds that by itself, too."""
    return held(pair, made(pair, name, mtf=MTF if name in OTHERS else None), MTF)


def margins(
    pairs: Sequence[Pair], made: Estimates, network: str, others: Sequence[str], how: Callable[..., Image]
) -> str:
    """Table of how far a network is above other methods, by place; the last rows pool scenes."""
    rows, pooled = [], {}
    learnt = trained_on(network)
    for scale in dict.fromkeys(pair.scale for pair in pairs):
        mine = [pair for pair in pairs if pair.scale == scale]
        for pair in mine:
            gains = [parts_db(pair, how(made, pair, network), how(made, pair, name)) for name in others]
            mark = " (in training)" if pair.place in learnt else ""
            rows.append([f"{pair.place}, ×{scale}{mark}", *map(spread, gains)])
            pooled[pair.place, scale] = [gain.mean() for gain in gains]
        for label, left_out in (("all scenes", ()), ("scenes not in training", learnt)):
            kept = [pooled[pair.place, scale] for pair in mine if pair.place not in left_out]
            if len(kept) > 1 and (label == "all scenes" or len(kept) < len(mine)):
                rows.append([f"**{label}, ×{scale}**", *(spread(column) for column in zip(*kept, strict=True))])
    return table((f"{network} above …, dB", *others), rows)


def guides(pairs: Sequence[Pair], made: Estimates, network: str) -> str:
    """Table of PSNR by the guide: all bands, the vegetation index alone, one band."""
    names = (*GUIDED, network)
    rows = []
    for pair in pairs:
        cells = [
            " → ".join(f"{psnr(pair, made(pair, name, guide=kind)):.2f}" if can(name, kind) else "–" for kind in GUIDES)
            for name in names
        ]
        rows.append([f"{pair.place}, ×{pair.scale}", f"{psnr(pair, made(pair, 'bicubic')):.2f}", *cells])
    return table((f"guide: {' → '.join(GUIDES)}, PSNR dB", "no guide: bicubic", *names), rows)


def kept(pairs: Sequence[Pair], made: Estimates, network: str) -> Iterator[str]:
    """Tables of what conserving radiance does: over the area of a pixel, and within the response of the sensor."""
    names = (*KEPT, network)
    scores, means, patterns = [], [], []
    for pair in pairs:
        place = f"{pair.place}, ×{pair.scale}"
        images = {
            name: (made(pair, name), *(held(pair, made(pair, name), mtf) for mtf in (None, MTF))) for name in names
        }
        scores.append([place, *(arrows(psnr(pair, image) for image in images[name]) for name in names)])
        left = {
            name: [deviation_k(pair, image, mtf) for image, mtf in zip(images[name][1:], (None, MTF), strict=True)]
            for name in names
        }
        means.append([place, *(arrows(left[name], 4) for name in names)])
        truth = block_pattern(pair.truth.values[0], pair.scale)
        shown = [arrows(block_pattern(image, pair.scale) for image in images[name]) for name in names]
        patterns.append([place, f"{truth:.2f}", *shown])
    yield table(("nothing → over the area → within the response, PSNR dB", *names), scores)
    yield table(("largest difference of means in K: over the area → within the response", *names), means)
    yield table(("block pattern: nothing → over the area → within the response", "truth", *names), patterns)


def arrows(values: Iterator[float] | Sequence[float], digits: int = 2) -> str:
    """Numbers one after the other."""
    return " → ".join(f"{value:.{digits}f}" for value in values)
