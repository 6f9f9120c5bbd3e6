"""What a step of training costs, and which share of it lies outside the network: one thread, one step after the other.

A step draws a batch, passes it through the network and back (the loss included), and updates the weights and their
average. Medians of processor time, on synthetic scenes. A run draws batches in a second thread, which costs no time
where it has a core of its own. Networks are evaluated in bfloat16 where the processor multiplies it. ``--write`` puts
what is printed into the documentation.
"""

import argparse
import statistics
import time
from dataclasses import replace
from itertools import pairwise

import run
import torch
from common.machine import processor

from xsr.models.precision import resolve_precision
from xsr.training.build import build
from xsr.training.loop import running_average
from xsr.training.recipes import RECIPES
from xsr.training.tasks import Training

NAMES = "liif_s2", "carn_3x3x64g4sw_s2", "temporal_liif_s2", "sharpen_s2", "liif_optical", "dctnet_lst"
SCENES = 2
"""Synthetic scenes of a recipe that asks for a number."""


def prepared(name: str) -> Training[object]:
    """Make what a recipe optimises, on a few synthetic scenes and from its first weights."""
    recipe = replace(RECIPES[name], start=None)
    if hasattr(recipe.task, "synthetic"):
        recipe = replace(recipe, task=replace(recipe.task, synthetic=SCENES))
    return build(recipe, None)[0]


def steps(name: str, count: int) -> tuple[float, float, float]:
    """Median seconds of drawing a batch, of the network, and of the update, after a first step that is not counted."""
    recipe, task = RECIPES[name], prepared(name)
    network = task.network.to(memory_format=task.memory_format)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=running_average(recipe.average))
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    taken = []
    for step in range(count + 1):
        times = [time.process_time()]
        batch = task.sampler(step)
        times.append(time.process_time())
        loss, _ = task.loss(network, batch, recipe, drop=(), device="cpu")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(time.process_time())
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        times.append(time.process_time())
        taken.append([after - before for before, after in pairwise(times)])
    draw, through, update = (statistics.median(column) for column in zip(*taken[1:], strict=True))
    return draw, through, update


def line(name: str, count: int) -> str:
    """Row of one recipe."""
    draw, through, update = steps(name, count)
    total = draw + through + update
    numbers = f"{draw * 1000:8.0f} {through * 1000:8.0f} {update * 1000:8.0f}"
    shares = f"{1 - through / total:9.1%} {update / (through + update):9.1%}"
    return f"{name:22} {RECIPES[name].batch:5d} {numbers} {shares} {60 / total:10.1f}"


def main() -> None:
    """Print the cost of a step of each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--small", action="store_true", help="the least, to check that it runs")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = NAMES[3:4] if options.small else NAMES
    precision = resolve_precision("auto", residual=True, device="cpu")
    lines = [
        f"milliseconds of a step in {precision}, medians of {options.steps}; one thread of {processor()}",
        "                                                         outside the network    steps",
        "recipe                 batch     draw  network   update    of all drawn ahead a minute",
        *(line(name, 1 if options.small else options.steps) for name in names),
    ]
    print("\n".join(lines))
    if options.write and not options.small:
        run.put("training_step.py", "\n".join(lines))


if __name__ == "__main__":
    main()
