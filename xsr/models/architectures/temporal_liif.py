"""Local implicit image functions of a time series: several acquisitions in, an image at any date and scale out.

`TemporalLIIF` knows the calendar. Every date is encoded by itself (`TemporalLIIF.encode`, once per date whatever is
requested later), the features are fused for one query time (`TemporalLIIF.fuse`) and decoded at any position
(`TemporalLIIF.decode`). The fusion is the kernel-weighted mean over the dates plus an attention that starts at zero,
so an untrained network interpolates in time and training can only add corrections. Only differences between times
and the day of the year enter; the order, the number and the origin of the dates do not matter.

The network makes a residual: the image is that residual plus the bicubic enlargement of `composite`.

`TemporalLIIF3D` is the earlier form: three-dimensional convolutions over dates that count as equally spaced, decoded
at a position along the index of the date.

References
----------
Gutiérrez Gómez, "End-to-end continuous space-time super-resolution", 2023 (`TemporalLIIF3D`).

Y. Chen, S. Liu, X. Wang, "Learning Continuous Image Representation with Local Implicit Image Function",
CVPR 2021, doi:10.1109/CVPR46437.2021.00852.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from xsr.core.errors import ParameterError
from xsr.models.architectures import liif
from xsr.models.architectures.edsr import EDSREncoder
from xsr.models.architectures.liif import LocalDecoder
from xsr.models.datesets import DateSets
from xsr.models.onednn import linear
from xsr.models.record import Architecture

KERNEL_DAYS = 30.0
"""Days over which the kernel exp(-|difference| / length) of the composite falls by a factor e."""
YEAR_DAYS = 365.25
PERIODS_DAYS = (4.0, 1461.0)
"""Shortest and longest period of the code of a time difference."""
REACH_DAYS = (5.0, 120.0)
"""Shortest and longest reach of the attention heads before training."""


def composite(
    images: Tensor, days: Tensor, valid: Tensor, tau: Tensor | float, length: float = KERNEL_DAYS
) -> tuple[Tensor, Tensor]:
    """Average the dates of a series with weights that fall with the distance in time.

    Parameters
    ----------
    images
        Series, (B, T, C, h, w); what lies under masked pixels may be anything, NaN included.
    days
        Times of acquisition in days from any origin, (T,) or (B, T); best in float64.
    valid
        Pixels to use, boolean, (B, T, C, h, w) or (B, T, 1, h, w).
    tau
        Query time in days, a number or (B,).
    length
        Days over which the weight falls by a factor e.

    Returns
    -------
    composite : Tensor
        (B, C, h, w); zero where no date is valid.
    n_valid : Tensor
        Number of valid dates, integer, (B, C, h, w) or (B, 1, h, w).
    """
    weights = kernel_weights(days, valid, tau, length).to(images.dtype)
    known = torch.where(valid, images, torch.zeros((), dtype=images.dtype, device=images.device))
    return (weights * known).sum(1), valid.sum(1)


def kernel_weights(days: Tensor, valid: Tensor, tau: Tensor | float, length: float = KERNEL_DAYS) -> Tensor:
    """Weights exp(-|days - tau| / length) of the valid dates, normalised over the dates.

    The exponents are compared before they are raised, so dates far from ``tau`` keep their ratios.

    Parameters
    ----------
    days, tau, length
        As in `composite`.
    valid
        Boolean, (B, T, ...).

    Returns
    -------
    Tensor
        Shape of ``valid``, float64; they sum to one over the dates, to zero where no date is valid.
    """
    distance = _differences(days, tau, valid).abs()
    return _masked_softmax(_over_pixels(-distance / length, valid.ndim), valid)


def linear_weights(days: Tensor, valid: Tensor, tau: Tensor | float) -> Tensor:
    """Weights of linear interpolation in time between the neighbouring valid dates, pixel by pixel.

    Where a pixel has valid dates on one side of the query time alone, the nearest of them takes all.

    Parameters
    ----------
    days, tau
        As in `composite`.
    valid
        Boolean, (B, T, ...).

    Returns
    -------
    Tensor
        Shape of ``valid``, float64; they sum to one over the dates, to zero where no date is valid.
    """
    delta = _over_pixels(_differences(days, tau, valid), valid.ndim)
    far = torch.full((), torch.inf, dtype=torch.float64, device=valid.device)
    before = torch.where(valid & (delta <= 0), -delta, far)
    after = torch.where(valid & (delta >= 0), delta, far)
    to_before, to_after = before.amin(1, keepdim=True), after.amin(1, keepdim=True)
    one_sided = torch.isinf(to_before) | torch.isinf(to_after)
    span = torch.where(one_sided | (to_before + to_after == 0), torch.ones_like(far), to_before + to_after)
    share = torch.where(one_sided, torch.isinf(to_before).double(), to_before / span)
    left = (valid & (before == to_before) & ~torch.isinf(before)) * (1 - share)
    right = (valid & (after == to_after) & ~torch.isinf(after)) * share
    weights = left + right
    total: Tensor = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return total


def equal_weights(valid: Tensor) -> Tensor:
    """Equal weights of the valid dates.

    Parameters
    ----------
    valid
        Boolean, (B, T, ...).

    Returns
    -------
    Tensor
        Shape of ``valid``, float64; they sum to one over the dates, to zero where no date is valid.
    """
    return valid.double() / valid.sum(1, keepdim=True).clamp(min=1)


Mean: TypeAlias = Literal["kernel", "linear", "equal"]
"""Mean over the dates that the fusion starts from: `kernel_weights`, `linear_weights` or `equal_weights`."""
MEANS: tuple[Mean, ...] = get_args(Mean)


class DateFusion(nn.Module):
    """Fuse the features of several dates, pixel by pixel, for one query time.

    Parameters
    ----------
    features
        Channels of the feature maps.
    heads
        Attention heads; each has its own reach in time.
    periods
        Periods of the code of a time difference.
    mean
        Mean over the dates to which the attention adds.
    """

    def __init__(self, features: int = 64, heads: int = 8, periods: int = 16, mean: Mean = "kernel") -> None:
        super().__init__()
        if mean not in MEANS:
            raise ParameterError(f"mean={mean!r}; expected one of {', '.join(MEANS)}.")
        self.mean = mean
        if features % heads:
            raise ParameterError(f"heads={heads}; expected a divisor of features={features}.")
        token = features + 2 * periods + 2
        self.query = nn.Linear(token, features)
        self.key = nn.Linear(token, features)
        self.value = nn.Linear(features, features)
        self.output = nn.Linear(features, features)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        low, high = REACH_DAYS
        self.log_reach = nn.Parameter(torch.linspace(math.log(low), math.log(high), heads))
        self.heads, self.periods = heads, periods

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        days: Tensor,
        day_of_year: Tensor,
        valid: Tensor,
        tau: Tensor | float,
        tau_doy: Tensor | float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse (B, T, F, h, w), or T tensors (B, F, h, w); see `TemporalLIIF.fuse`.

        Returns
        -------
        fused : Tensor
            (B, F, h, w), finite everywhere.
        weights : Tensor
            Weights of the dates in the temporal mean, (B, T, h, w), float64.
        attention : Tensor
            Weights of the dates in every head, (B, T, heads, h, w).
        """
        images = features.unbind(1) if isinstance(features, Tensor) else features
        like = images[0]
        delta = _differences(days, tau, like)
        codes = time_code(delta, _per_date(day_of_year, like), self.periods).to(like.dtype)
        now = time_code(torch.zeros_like(delta[:, 0]), _per_image(tau_doy, like), self.periods)
        # One date at a time: the keys and values of all dates at once would be the largest tensors of the network.
        # The channels of a pixel lie side by side, so that all layers are products of matrices.
        dates = [_known(x, there[:, None]).movedim(1, -1) for x, there in zip(images, valid.unbind(1), strict=True)]
        weights = self.weights(days, valid, tau)
        mean = _weighted_sum(weights.to(like.dtype).unbind(1), dates)
        query = _project(self.query, mean, now.to(like.dtype))
        same_head = torch.eye(self.heads, dtype=like.dtype, device=like.device)
        same_head = same_head.repeat_interleave(query.shape[-1] // self.heads, dim=0)  # (F, heads)
        keys = (_project(self.key, x, code) for x, code in zip(dates, codes.unbind(1), strict=True))
        logits = torch.stack([(query * key) @ same_head for key in keys], dim=1).movedim(-1, 2)
        logits = logits / math.sqrt(query.shape[-1] // self.heads)
        attention = self._attention(logits, delta.abs(), valid)
        shares = (share.movedim(1, -1) @ same_head.T for share in attention.unbind(1))
        summary = _sum(share * _project(self.value, x) for share, x in zip(shares, dates, strict=True))
        return (mean + _project(self.output, summary)).movedim(-1, 1), weights, attention

    def weights(self, days: Tensor, valid: Tensor, tau: Tensor | float) -> Tensor:
        """Weights of the dates in the temporal mean; see `Mean`."""
        return DateSets(days, valid, tau).each(self.weigh)

    def weigh(self, days: Tensor, valid: Tensor, tau: Tensor | float) -> Tensor:
        """Weights of the dates in the temporal mean, computed for every pixel."""
        if self.mean == "equal":
            return equal_weights(valid)
        return (kernel_weights if self.mean == "kernel" else linear_weights)(days, valid, tau)

    def _attention(self, logits: Tensor, distance: Tensor, valid: Tensor) -> Tensor:
        """Weights of the dates in every head, (B, T, heads, h, w)."""
        # The softmax ignores what all dates share; without it, small differences of large distances stay exact.
        later = (distance - distance.amin(1, keepdim=True)).to(logits.dtype)
        penalty = later[:, :, None] / self.log_reach.exp()
        return _masked_softmax(logits - penalty[..., None, None], valid[:, :, None])


class Radiometry(nn.Module):
    """Bring the composite of a series to the radiometry of another sensor, by a linear map.

    ``out = kernel * (composite, spread) + around @ surroundings + offset``: a small kernel mixes bands and displaces
    the image as much as those of the sensors always differ; the mean of the surroundings moves it by a map that is as
    smooth as they are wide.

    Parameters
    ----------
    bands
        Bands of the composite.
    reach
        Pixels on either side that count as surroundings.
    size
        Side of the kernel in pixels, odd.
    """

    def __init__(self, bands: int, reach: int, size: int = 5) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(2 * bands, bands, size, padding=size // 2, padding_mode="replicate")
        self.around = nn.Conv2d(bands, bands, 1, bias=False)
        for tensor in self.parameters():
            nn.init.zeros_(tensor)
        nn.init.dirac_(self.kernel.weight)
        self.reach = reach
        self.radius = max(reach, size // 2)
        """Receptive field radius in pixels."""

    def forward(self, composite: Tensor, spread: Tensor) -> Tensor:
        """Map a composite and the standard deviation of its dates, (B, bands, h, w) each; at first to the composite."""
        out: Tensor = self.kernel(torch.cat((composite, spread), dim=1))
        around: Tensor = self.around(surroundings(composite, self.reach))
        return out + around


def surroundings(x: Tensor, reach: int) -> Tensor:
    """Mean over the pixels at most ``reach`` away along each axis, of those inside; (B, C, h, w)."""
    out = x.double()  # differences of sums: in single precision they would depend on where a window begins
    for axis in (2, 3):
        size = out.shape[axis]
        sums = nn.functional.pad(out.cumsum(axis).movedim(axis, -1), (1, 0))
        at = torch.arange(size, device=x.device)
        first, last = (at - reach).clamp(min=0), (at + reach + 1).clamp(max=size)
        out = ((sums[..., last] - sums[..., first]) / (last - first)).movedim(-1, axis)
    return out.to(x.dtype)


class TemporalLIIF(nn.Module):
    """EDSR encoder per date, fusion of the dates for a query time, local implicit image function.

    Parameters
    ----------
    channels
        Input channels of a date; bands, and masks of missing bands where the model uses them.
    outputs
        Output channels (bands).
    features, blocks
        Width and residual blocks of the encoder.
    hidden
        Widths of the hidden layers of the MLP.
    heads, periods
        Attention heads and periods of the time code of `DateFusion`.
    mean
        Mean over the dates that the fusion starts from.
    blend
        Whether `compose` may leave that mean for one weighted by the attention, by band and pixel.
    radiometry
        Reach of the `Radiometry` that brings the composite to another sensor; 0 for none.
    """

    def __init__(
        self,
        channels: int = 3,
        outputs: int = 3,
        features: int = 64,
        blocks: int = 16,
        hidden: Sequence[int] = (256, 256, 256, 256),
        *,
        heads: int = 8,
        periods: int = 16,
        mean: Mean = "kernel",
        blend: bool = False,
        radiometry: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = EDSREncoder(channels, features, blocks)
        self.fusion = DateFusion(features, heads, periods, mean)
        self.imnet = LocalDecoder(features, hidden, outputs)
        self.mix = nn.Parameter(torch.zeros(outputs, heads)) if blend else None
        self.gate = nn.Conv2d(features, outputs, 1) if blend else None
        if self.gate is not None:
            for tensor in self.gate.parameters():
                nn.init.zeros_(tensor)
        self.radiometry = Radiometry(outputs, radiometry) if radiometry else None
        self.radius = self.encoder.radius + self.imnet.radius
        if self.radiometry is not None:
            self.radius += self.radiometry.radius
        """Receptive field radius in input pixels, on every date; the fusion looks at one pixel."""

    def encode(self, x: Tensor, margin: int = 0) -> Tensor:
        """Map dates (N, C, h, w) to features (N, F, h, w), each by itself; fill missing values with zero before.

        Of a network made ready for inference, whose encoder is evaluated in bands, the features of a ``margin`` of
        pixels along each side can be left out; what they need is then not computed.
        """
        out: Tensor = self.encoder(x, margin) if margin else self.encoder(x)
        return out

    def merge(
        self,
        features: Tensor | Sequence[Tensor],
        days: Tensor,
        day_of_year: Tensor,
        valid: Tensor,
        tau: Tensor | float,
        tau_doy: Tensor | float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse like `fuse`; return the feature map (B, F, h, w) itself, the weights of the mean and the attention.

        The features may also be one tensor (B, F, h, w) for each date.
        """
        fused, weights, attention = self.fusion(features, days, day_of_year, valid, tau, tau_doy)
        return fused, weights, attention

    def compose(
        self, images: Tensor, valid: Tensor, days: Tensor, tau: Tensor | float, fused: Tensor, attention: Tensor
    ) -> Tensor:
        """Average the dates band by band: what is enlarged and added to the output of `decode`.

        Parameters
        ----------
        images, valid
            Series and its mask, (B, T, outputs, h, w); what lies under masked pixels may be anything.
        days, tau
            As in `fuse`.
        fused, attention
            As returned by `merge`.

        Returns
        -------
        Tensor
            (B, outputs, h, w); without `Radiometry` zero where no date is valid. Before training it is the temporal
            mean, and where the query time itself is clear no other date is blended in.
        """
        known, sets = _known(images, valid), DateSets(days, valid, tau)
        out = (sets.each(self.fusion.weigh).to(images.dtype) * known).sum(1)
        if self.gate is not None and self.mix is not None:
            mix = self.mix.softmax(1)
            shares = [
                torch.einsum("ck,bkhw->bchw", mix, heads) * there
                for heads, there in zip(attention.unbind(1), valid.unbind(1), strict=True)
            ]
            whole = _sum(shares)
            apart = _sum(share * date for share, date in zip(shares, known.unbind(1), strict=True)) - whole * out
            # Where the attention is on other dates alone the shares vanish, and the mean stays.
            remote = sets.each(_remoteness).to(images.dtype)
            out = out + torch.tanh(self.gate(fused)) * remote * apart / whole.clamp(min=1e-6)
        if self.radiometry is None:
            return out
        variance = ((known - out[:, None]).square() * valid).sum(1) / valid.sum(1).clamp(min=1)
        corrected: Tensor = self.radiometry(out, variance.clamp(min=1e-12).sqrt())
        return corrected

    def fuse(
        self,
        features: Tensor,
        days: Tensor,
        day_of_year: Tensor,
        valid: Tensor,
        tau: Tensor | float,
        tau_doy: Tensor | float,
    ) -> tuple[Tensor, Tensor]:
        """Fuse the dates for a query time and apply the folded first layer of the decoder.

        Parameters
        ----------
        features
            Outputs of `encode`, (B, T, F, h, w).
        days
            Times of acquisition in days from any origin, (T,) or (B, T); best in float64.
        day_of_year
            Days since the first of January of the same dates, (T,) or (B, T).
        valid
            Pixels to use, boolean, (B, T, h, w). Features of other pixels are ignored.
        tau, tau_doy
            Query time in days from the same origin, and its day of the year; numbers or (B,).

        Returns
        -------
        code : Tensor
            (B, hidden[0], h, w), finite also where no date is valid; mask it there.
        weights : Tensor
            Weights of the dates in the temporal mean, (B, T, h, w), float64; see `kernel_weights`.
        """
        fused, weights, _ = self.merge(features, days, day_of_year, valid, tau, tau_doy)
        return self.fold(fused), weights

    def fold(self, fused: Tensor) -> Tensor:
        """Apply the folded first layer of the decoder to fused features: (B, hidden[0], h, w)."""
        return self.imnet.fold(fused)

    def decode(self, code: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float]) -> Tensor:
        """Evaluate queries on a code of `fuse`, as `LIIF.decode`."""
        return self.imnet.query(code, (rows, cols), cell)

    def forward(
        self,
        x: Tensor,
        days: Tensor,
        day_of_year: Tensor,
        valid: Tensor,
        tau: Tensor | float,
        tau_doy: Tensor | float,
        rows: Tensor,
        cols: Tensor,
        cell: tuple[float, float],
    ) -> Tensor:
        """Encode, fuse and decode a series (B, T, C, h, w); see `fuse` and `decode`.

        What ``x`` holds under masked pixels does not matter: zeros take its place.
        """
        x = x.masked_fill(~valid[:, :, None], 0.0)
        features = self.encode(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        code, _ = self.fuse(features, days, day_of_year, valid, tau, tau_doy)
        return self.decode(code, rows, cols, cell)


class ResidualBlock3D(nn.Module):
    """``x + conv(relu(conv(x)))`` with 3x3x3 kernels and zero padding."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(features, features, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv3d(features, features, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, F, T, H, W) to the same shape."""
        out: Tensor = x + self.body(x)
        return out


class EDSREncoder3D(nn.Module):
    """The encoder of EDSR with convolutions over time, y and x; parameters as in `EDSREncoder`."""

    def __init__(self, channels: int, features: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv3d(channels, features, 3, padding=1))
        body: list[nn.Module] = [ResidualBlock3D(features) for _ in range(blocks)]
        self.body = nn.Sequential(*body, nn.Conv3d(features, features, 3, padding=1))
        self.radius = 2 + 2 * blocks
        """Receptive field radius in pixels, and in dates."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to features (N, F, T, H, W)."""
        x = self.head(x)
        out: Tensor = x + self.body(x)
        return out


class TemporalLIIF3D(nn.Module):
    """Three-dimensional EDSR encoder and local implicit function of (index of the date, y, x).

    Dates count as equally spaced and no pixel can be masked. The output is the value itself, without a residual.

    Parameters
    ----------
    channels, outputs, features, blocks, hidden
        As in `TemporalLIIF`.
    """

    def __init__(
        self,
        channels: int = 3,
        outputs: int = 3,
        features: int = 64,
        blocks: int = 16,
        hidden: Sequence[int] = (256, 256, 256, 256),
    ) -> None:
        super().__init__()
        self.encoder = EDSREncoder3D(channels, features, blocks)
        self.imnet = LocalDecoder(features, hidden, outputs, dims=3)
        self.radius = self.encoder.radius + self.imnet.radius
        """Receptive field radius in input pixels; with fewer dates than this the network reads all of them."""

    def encode(self, x: Tensor) -> Tensor:
        """Map a series (B, T, C, h, w) to the folded first layer, (B, hidden[0], T, h, w)."""
        return self.imnet.fold(self.encoder(x.transpose(1, 2)))

    def decode(
        self, code: Tensor, times: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float, float]
    ) -> Tensor:
        """Evaluate queries on an encoded series.

        Parameters
        ----------
        code
            Output of `encode`, (B, hidden[0], T, h, w).
        times
            Positions along the index of the date, (Q,) or (B, Q); ``(T - 1) / 2`` is the middle of the series.
        rows, cols
            Positions in pixel coordinates, (Q,) or (B, Q).
        cell
            Size of an output step and pixel in input dates and pixels, (t, y, x); the first is ``T / t_out``.

        Returns
        -------
        Tensor
            (B, Q, outputs).
        """
        return self.imnet.query(code, (times, rows, cols), cell)

    def forward(self, x: Tensor, times: Tensor, rows: Tensor, cols: Tensor, cell: tuple[float, float, float]) -> Tensor:
        """Encode ``x`` (B, T, C, h, w) and evaluate queries; see `decode`."""
        return self.decode(self.encode(x), times, rows, cols, cell)


def time_code(delta: Tensor, day_of_year: Tensor, periods: int = 16) -> Tensor:
    """Sines and cosines of a time difference and of the season.

    Parameters
    ----------
    delta
        Difference to the query time in days, (...).
    day_of_year
        Season of the same dates, in days, (...).
    periods
        Geometric periods between the two of `PERIODS_DAYS`.

    Returns
    -------
    Tensor
        (..., 2 * periods + 2): sines and cosines of the difference, sine and cosine of the season.
    """
    low, high = PERIODS_DAYS
    steps = torch.linspace(math.log(low), math.log(high), periods, dtype=delta.dtype, device=delta.device)
    phase = 2 * math.pi * delta[..., None] / steps.exp()
    season = 2 * math.pi * day_of_year[..., None] / YEAR_DAYS
    return torch.cat((phase.sin(), phase.cos(), season.sin(), season.cos()), dim=-1)


def _remoteness(days: Tensor, valid: Tensor, tau: Tensor | float) -> Tensor:
    """Days to the nearest valid date, at most one, as a share of a day; (B, ...) without the axis of the dates."""
    distance = _over_pixels(_differences(days, tau, valid).abs(), valid.ndim)
    nearest: Tensor = torch.where(valid, distance, torch.inf).amin(1).clamp(max=1.0)
    return nearest


def _differences(days: Tensor, tau: Tensor | float, like: Tensor) -> Tensor:
    """Differences to the query time, (B, T), float64: centuries from the origin a second still counts."""
    return _per_date(days, like) - _per_image(tau, like)[:, None]


def _per_date(values: Tensor, like: Tensor) -> Tensor:
    """Bring (T,) or (B, T) to (B, T), float64, with the batch and the device of ``like``."""
    return values.to(like.device, torch.float64).expand(len(like), -1)


def _per_image(value: Tensor | float, like: Tensor) -> Tensor:
    """Bring a number or (B,) to (B,), float64, with the batch and the device of ``like``."""
    return torch.as_tensor(value, dtype=torch.float64, device=like.device).expand(len(like))


def _over_pixels(values: Tensor, ndim: int) -> Tensor:
    """Append axes of length one."""
    return values.reshape(*values.shape, *(1,) * (ndim - values.ndim))


def _masked_softmax(logits: Tensor, valid: Tensor) -> Tensor:
    """Softmax over the dates (axis 1) that are valid; all zero where none is, without a NaN in values or gradients."""
    masked = torch.where(valid, logits, torch.finfo(logits.dtype).min)
    weights: Tensor = masked.softmax(1) * valid
    return weights


def _known(values: Tensor, valid: Tensor) -> Tensor:
    """Values with zeros where they are not valid."""
    return values if bool(valid.all()) else values.masked_fill(~valid, 0.0)


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    """Sum tensors one by one; they are made as they are needed."""
    total: Tensor | None = None
    for tensor in tensors:
        total = tensor if total is None else total + tensor
    assert total is not None
    return total


def _weighted_sum(weights: Iterable[Tensor], dates: Iterable[Tensor]) -> Tensor:
    """Sum over the dates of weights (B, h, w) times the channels of the pixels (B, h, w, F)."""
    return _sum(weight[..., None] * date for weight, date in zip(weights, dates, strict=True))


def _project(layer: nn.Linear, features: Tensor, code: Tensor | None = None) -> Tensor:
    """Apply a linear layer to the pixels of (B, h, w, F), with a time code (B, K) appended to each."""
    width = features.shape[-1]
    weight, bias = layer.weight[:, :width], layer.bias
    if code is None:
        return linear(features, weight, bias)
    added = nn.functional.linear(code, layer.weight[:, width:], bias)
    if len(added) == 1:
        return linear(features, weight, added[0])
    return linear(features, weight) + added[:, None, None]


ARCHITECTURES = (
    Architecture(
        name="temporal_liif",
        kind="temporal",
        build=TemporalLIIF,
        trunk="encoder",
        head="imnet",
        rename=liif.rename,
        summary="LIIF of any dates, by attention",
        citation=liif.CITATION,
    ),
    Architecture(
        name="temporal_liif_index3d",
        kind="temporal",
        build=TemporalLIIF3D,
        tiling="none",
        rename=liif.rename,
        summary="LIIF of equally spaced dates, by 3-D convolutions",
        citation="Gutiérrez Gómez, end-to-end continuous space-time super-resolution, thesis, 2023",
    ),
)
