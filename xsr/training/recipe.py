"""What decides a training run, as typed values: the optimisation, and one task that says what is trained on what.

A task is one of nine: `Continuous`, `Temporal`, `Fixed` and `Sharpen` learn from images of a sensor degraded by the
Wald protocol, `Guided` from temperatures beside reflectance, `Paired` from temperatures of two sensors, `Reference`
from images of a finer sensor, `Intervals` from the errors of another network, `Optical` from images of any sensors.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from xsr.models.channels import NO_CHANNELS, Channels
from xsr.training.manifest import Use


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, and how its pairs are drawn."""

    kind: ClassVar[str]
    use: ClassVar[Use]
    """Scenes of a manifest that it needs."""
    scale_range: tuple[float, float]
    patch: int
    """Low-resolution pixels along a side; of `Guided`, high-resolution pixels."""


@dataclass(frozen=True, kw_only=True)
class Wald(Task):
    """Pairs of an image and the same one degraded; see `xsr.training.pairs.WaldSampler`."""

    use: ClassVar[Use] = "image"
    synthetic: int = 60
    """Synthetic scenes, each 256 x 256 pixels; of series each 128 x 128."""
    mtf_jitter: float = 0.08
    level: float = 0.25
    """Share of batches in which 20 m bands are as sharp as 10 m bands, as in a cube of 20 m pixels."""
    noise: float = 0.02
    """Standard deviation of the added noise, in units of ``std``."""
    mix: float = 0.0
    """How much of the other bands is mixed into each band; above 0, patches are recoloured too."""
    similar: bool = True
    """Whether pairs are self-similar: the image itself has the MTF of the sensor, and so has the result, at its own
    pixels. If not, as published, the image is taken for perfectly sharp, and so is the result."""
    soften: float = 0.0
    """Share of the patches that are softened first; see `xsr.training.pairs.softened`."""
    resampled: float = 0.0
    """Share of the observed images that are interpolated as Level-1C is, but those of `Sharpen`; see
    `xsr.training.level1c`."""


@dataclass(frozen=True, kw_only=True)
class Continuous(Wald):
    """A network of any scale."""

    kind: ClassVar[str] = "continuous"
    scale_range: tuple[float, float] = (1.0, 4.0)
    patch: int = 32
    queries: int = 1024
    """Output pixels of a patch that count."""
    square: int = 0
    """Side of a square of output pixels in place of ``queries`` scattered ones: it can be degraded again and compared
    with the input. 0: no squares, and no low-fidelity term."""
    low_fidelity: float = 0.1
    """Weight of the low-fidelity term where there are squares, relative to the same error of the interpolation; see
    `xsr.training.tasks.liif_loss`."""
    reads: Literal["bands", "dates"] = "bands"
    """What the network reads: the bands of one image, or what `xsr.kernels.evidence` lists of one date or several."""
    most: int = 4
    """Most dates beside the image; the number is drawn for each batch."""
    alone: float = 0.5
    """Share of batches of scenes with one date alone."""
    real: float = 0.25
    """Share of batches from real series, whose target date is shown or hidden."""
    series: int = 24
    """Synthetic series to render."""


@dataclass(frozen=True, kw_only=True)
class Temporal(Wald):
    """A network of any scale and time, on series."""

    kind: ClassVar[str] = "temporal"
    use: ClassVar[Use] = "series"
    scale_range: tuple[float, float] = (1.0, 4.0)
    patch: int = 32
    queries: int = 1024
    """Output pixels of a patch that count."""
    dates: tuple[int, int] = (3, 7)
    """Least and most input dates."""


@dataclass(frozen=True, kw_only=True)
class Fixed(Wald):
    """A fixed-scale network, on whole patches."""

    kind: ClassVar[str] = "fixed"
    scale_range: tuple[float, float] = (2.0, 2.0)
    patch: int = 24
    low_fidelity: float = 0.1
    """Weight of the low-fidelity term, a mean absolute error of standardised reflectance; see `xsr.training.fixed`."""


@dataclass(frozen=True, kw_only=True)
class Sharpen(Wald):
    """A network that brings bands of larger pixels to the grid of the others; see `xsr.training.sharpening`."""

    kind: ClassVar[str] = "sharpen"
    scale_range: tuple[float, float] = (1.0, 1.0)
    patch: int = 48
    level: float = 0.0
    published: float = 0.2
    """Share of patches whose image is taken for perfectly sharp, as the published formula does: a band may be softer
    than the tables say."""
    reads: ClassVar[str] = "detail"
    """What the network reads; see `xsr.models.ModelCard`."""


@dataclass(frozen=True, kw_only=True)
class Intervals(Task):
    """The errors of another network; see `xsr.training.intervals`."""

    kind: ClassVar[str] = "intervals"
    use: ClassVar[Use] = "image"
    of: str
    """Name of that network."""
    at_times: bool = False
    """Whether it makes target times, and errors depend on how far the nearest clear date is."""
    guided: bool = False
    """Whether it sharpens temperatures by a guide."""
    scale_range: tuple[float, float] = (1.0, 6.0)
    scales: tuple[float, ...] = (1.5, 2.0, 3.4, 4.0)
    """Scales at which errors are measured."""
    ranges: tuple[tuple[float, float], ...] = ((1.0, 1.75), (1.75, 2.75), (2.75, 6.0))
    """Ranges of scales that are calibrated each by itself."""
    patch: int = 96
    """Pixels of the truth along a side of what is read of an image."""
    pixels: int = 1500
    """Pixels of each band that are drawn from a patch."""
    reads: ClassVar[str] = "result"
    """What the network reads; see `xsr.models.ModelCard`."""


@dataclass(frozen=True, kw_only=True)
class Guided(Task):
    """A network that sharpens temperature, with a guide of reflectance or without."""

    kind: ClassVar[str] = "guided"
    use: ClassVar[Use] = "thermal"
    scale_range: tuple[float, float] = (4, 8)
    """The two factors, or one twice."""
    patch: int = 128
    guide: Channels = NO_CHANNELS
    """Bands of the guide and their standardisation; none for a network without a guide."""
    held: bool = False
    """Whether half of the loss is that of the result whose temperature is conserved within the sensor's response."""


@dataclass(frozen=True, kw_only=True)
class Paired(Guided):
    """The same, of temperatures that a second sensor measured finer; see `xsr.training.thermal_pairs`."""

    kind: ClassVar[str] = "paired"
    use: ClassVar[Use] = "thermal_pairs"
    scale_range: tuple[float, float] = (4, 4)
    patch: int = 80
    smooth: float = 2.0
    """Standard deviation, in low-resolution pixels, of the Gaussian that smooths the difference of the two sensors;
    what is smooth of it does not count."""


@dataclass(frozen=True, kw_only=True)
class Reference(Task):
    """A network of time, on several images and one of a finer sensor; see `xsr.training.finer`."""

    kind: ClassVar[str] = "reference"
    use: ClassVar[Use] = "reference"
    scale_range: tuple[float, float] = (2.0, 6.7)
    patch: int = 96
    queries: int = 4096
    """Output pixels of a patch that count."""
    strategy: str = "complete"
    """Which of the dates are read; see `xsr.training.finer.STRATEGIES`."""


@dataclass(frozen=True, kw_only=True)
class Optical(Task):
    """A network of any scale for the bands of any optical sensor, one by one; see `xsr.training.optical`.

    Pairs are self-similar. MTF and noise are drawn for each patch, and stated to the network with an error.
    """

    kind: ClassVar[str] = "optical"
    use: ClassVar[Use] = "optical"
    scale_range: tuple[float, float] = (1.0, 4.0)
    patch: int = 36
    queries: int = 768
    """Output pixels of a patch that count."""
    synthetic: int = 30
    """Synthetic scenes, each 256 x 256 pixels of 0.5 m to 5 m."""
    bands: tuple[int, int] = (1, 12)
    """Least and most bands of a patch, as far as its scene has them."""
    taught: int = 3
    """Most bands of a patch that the network is taught; all of them are in the mean."""
    mtf: tuple[float, float] = (0.1, 0.45)
    """Least and greatest MTF at Nyquist."""
    mtf_error: float = 0.1
    """Most by which the stated MTF is another."""
    noise: tuple[float, float] = (0.002, 0.1)
    """Least and greatest noise of half of the patches, over the standard deviation of the scene; others have none."""
    noise_error: float = 0.4
    """Standard deviation of the logarithm of the factor by which the stated noise is another."""
    mix: float = 0.3
    """How much of the other bands is mixed into each band; see `Wald`."""
    soften: float = 0.5
    """Share of the patches of an MTF below that of their scene whose truth is softened to it."""
    mistaken: float = 0.0
    """Share of patches whose stated MTF says nothing of the true one, and of those whose stated noise is texture."""
    squared: bool = False
    """Whether the loss is of root mean squares, which is what is scored, or of means of absolute values."""
    reads: ClassVar[str] = "each"
    """What the network reads; see `xsr.models.ModelCard`."""


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """A discriminator that a network of whole patches is trained against; see `xsr.training.adversary`."""

    architecture: str = "unet_discriminator"
    features: int = 32
    high_pass: float | None = 0.4
    """MTF of the Gaussian of the high pass before the discriminator; None lets it see radiometry too."""
    weight: float = 0.01
    """Weight of the adversarial loss beside the loss of the task."""
    smoothing: float = 0.1
    """The target of true images is 1 less this."""
    learning_rate: float = 1e-4
    """Of the discriminator, by Adam; constant."""
    after: int = 300
    """Steps in which the discriminator alone learns of the other."""
    every: int = 300
    """Steps between the weights that are kept beside the last ones, as candidates to choose from."""


T = TypeVar("T", bound=Task, covariant=True)
UNUSED = {"adversary": None, "before": None, "until": 1.0, "strategy": "complete", "resampled": 0.0}
"""What a record leaves out, by the value that says that it is not used."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[T]):
    """A training run; the same recipe, scenes and machine make the same weights, unless minutes cut it short."""

    name: str
    summary: str
    architecture: str
    """Name of a registered architecture; see `xsr.models.list`."""
    config: dict[str, Any]
    """Settings of the network."""
    task: T
    image: Channels
    """Bands and their standardisation; the optional ones, which a cube may lack, are dropped at random in training."""
    drop: float = 0.0
    """Share of batches in which optional bands are missing."""
    subsets: tuple[tuple[str, ...], ...] = ()
    """Bands left in those batches, one subset at a time; any bands at random are one more choice."""
    sensor: str = "sentinel-2"
    mtf: tuple[float, ...] = ()
    """MTF at Nyquist of each band; empty: that of the sensor."""
    gsd_m: float = 10.0
    start: str = ""
    """Weights whose tensors the network starts from, where names and shapes agree: packaged ones, a path, or a recipe,
    which is run first if its weights are not beside the output."""
    frozen: tuple[str, ...] = ()
    """Parts of the network that training leaves as they start."""
    intervals: str | None = None
    """Recipe of the model that expects the errors of this one's results."""
    before: str | None = None
    """Recipe of the model that sharpens bands of larger pixels before this one reads them, in use; not in training."""
    adversary: Adversary | None = None
    """Discriminator that a fixed-scale network is trained against."""
    batch: int = 12
    steps: int = 8_000
    learning_rate: float = 6e-4
    until: float = 1.0
    """Share of the schedule of the learning rate after which the run ends."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is saved; 0 saves those of the last step."""
    seed: int = 0
    licence: str = "CC-BY-4.0"
    limits: tuple[str, ...] = field(default=())

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands in the order of the network's channels."""
        return self.image.names

    @property
    def factor(self) -> int | None:
        """The one scale of a fixed-scale network."""
        return 1 if isinstance(self.task, Sharpen | Intervals) else self.config.get("factor")

    @property
    def last(self) -> int:
        """Number of the step that ends the run."""
        return math.ceil(self.until * self.steps)

    def record(self) -> dict[str, Any]:
        """Give what a card says of the recipe, in one table."""
        plain = {**asdict(self), **asdict(self.task)}
        nested = ("task", "limits", "summary", "image", "guide")
        values = {key: value for key, value in plain.items() if key not in nested}
        for name, unused in UNUSED.items():
            if values.get(name, unused) == unused:
                values.pop(name, None)
        guide = self.task.guide.fields("guide_") if isinstance(self.task, Guided) else {}
        return {**values, "task": self.task.kind, **self.image.fields(), "units": self.image.units, **guide}


def dropped(recipe: Recipe[Any], step: int) -> tuple[int, ...]:
    """Bands to hide in the batch of a step: what a cube without them would lack."""
    rng = np.random.default_rng([recipe.seed, step, 1])
    if rng.random() >= recipe.drop:
        return ()
    kept = [list(subset) for subset in recipe.subsets] + [[b for b in recipe.bands if rng.random() < 0.5]]
    keep = kept[int(rng.integers(len(kept)))] or list(recipe.bands[:1])
    return tuple(i for i, band in enumerate(recipe.bands) if band not in keep and band in recipe.image.optional)
