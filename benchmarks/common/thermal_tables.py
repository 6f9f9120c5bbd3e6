"""Tables of sharpened temperatures: the best network against each other method, guides, and what is conserved."""

from collections.abc import Callable, Iterator, Mapping, Sequence

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


def pooled(values: Sequence[float] | NDArray[np.float64]) -> str:
    """Mean over scenes with its standard error, bold where it is above that."""
    values = np.asarray(values, float)
    clear = values.size > 1 and values.mean() > values.std(ddof=1) / np.sqrt(values.size)
    return f"**{spread(values)}**" if clear else spread(values)


def best(pairs: Sequence[Pair], made: Estimates, networks: Sequence[str] = NETWORKS) -> str:
    """Network with the greatest mean PSNR over pairs, of those that have weights for all."""
    names = [name for name in networks if all(trained(name, pair.scale) for pair in pairs)]
    return max(names, key=lambda name: np.mean([psnr(pair, made(pair, name)) for pair in pairs]))


def freely(made: Estimates, pair: Pair, name: str) -> Image:
    """Sharpened image that conserves nothing."""
    return made(pair, name)


def within(made: Estimates, pair: Pair, name: str) -> Image:
    """Sharpened image that is held within the response of the sensor; some methods heed that by themselves, too.

    Networks do so by `xsr.guided`, which may average them with another method: what it made stays as it is when held.
    """
    return held(pair, made(pair, name, mtf=MTF if name in (*OTHERS, *NETWORKS) else None), MTF)


def margins(
    pairs: Sequence[Pair], made: Estimates, network: str, others: Sequence[str], how: Callable[..., Image]
) -> str:
    """Table of how far a network is above other methods, by place; the last rows pool scenes."""
    rows, means = [], {}
    for pair in pairs:
        gains = [parts_db(pair, how(made, pair, network), how(made, pair, name)) for name in others]
        means[pair.place, pair.scale] = [float(gain.mean()) for gain in gains]
        mark = " (in training)" if pair.place in trained_on(network) else ""
        rows.append([f"{pair.place}, ×{pair.scale}{mark}", *map(spread, gains)])
    return table((f"{network} above …, dB", *others), [*rows, *over_scenes(means, trained_on(network))])


def over_scenes(
    means: Mapping[tuple[str, int], Sequence[float]], learnt: Sequence[str], of: str = ""
) -> list[list[str]]:
    """Rows that pool scenes by factor: all, and those whose temperature was not in training."""
    rows = []
    for scale in dict.fromkeys(scale for _, scale in means):
        places = [place for place, its in means if its == scale]
        groups = {"all scenes": places, "scenes not in training": [p for p in places if p not in learnt]}
        for label, group in groups.items():
            if len(group) > 1 and (label == "all scenes" or len(group) < len(places)):
                columns = zip(*(means[place, scale] for place in group), strict=True)
                rows.append([f"{of}{label}, ×{scale}", *map(pooled, columns)])
    return rows


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


def margins_by_guide(pairs: Sequence[Pair], made: Estimates, network: str) -> str:
    """Table of how far a network is above other methods with the same guide that is less than all bands."""
    rows = []
    for kind in GUIDES[1:]:
        others = [name for name in COMPARED if name in UNGUIDED or can(name, kind)]
        means = {}
        for pair in pairs:
            images = {
                name: made(pair, name, guide="bands" if name in UNGUIDED else kind) for name in (*others, network)
            }
            means[pair.place, pair.scale] = [
                float(parts_db(pair, images[network], images[name]).mean()) for name in others
            ]
        for label, *cells in over_scenes(means, trained_on(network), f"{kind}: "):
            cell = dict(zip(others, cells, strict=True))
            rows.append([label, *(cell.get(name, "–") for name in COMPARED)])
    return table((f"{network} above …, dB", *COMPARED), rows)


def kept(pairs: Sequence[Pair], made: Estimates, network: str) -> Iterator[str]:
    """Tables of what conserving radiance does: over the area of a pixel, and within the response of the sensor."""
    names = (*KEPT, network)
    scores, means, patterns = [], [], []
    for pair in pairs:
        place = f"{pair.place}, ×{pair.scale}"
        images = {
            name: (
                free := made(pair, name),
                held(pair, free, None),
                within(made, pair, name) if name in NETWORKS else held(pair, free, MTF),
            )
            for name in names
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
