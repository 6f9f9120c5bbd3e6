"""Networks made ready for inference: their precision, their memory layout, and evaluation in bands of rows.

A convolution needs a row and its neighbours, not the image. `Bands` therefore moves a band of rows through the whole
network and keeps of every layer only the rows that the next band needs: nothing is computed twice, the borders are
padded as the network pads them, and the activations are a few MB whatever the size of the image. They stay in the cache
and in memory that the process has already; an activation of a whole block would be requested from the system and
cleared by it at every layer, which costs as much as the arithmetic.

Of an image with a margin that is read and whose output is left out, every layer computes only what later layers still
need: half the margin on average, and no padding.
"""

import copy
import operator
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache, partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from xsr.kernels.winograd import SIZE
from xsr.models import catalogue
from xsr.models.convolutions import convolution
from xsr.models.memory import Batches
from xsr.models.precision import Exact
from xsr.models.record import Architecture
from xsr.models.registry import ModelSpec, loaded
from xsr.models.rowwise import absorb, is_rowwise, layer_of, narrow, slope_of, writer
from xsr.models.threads import pooled, share
from xsr.models.winograd import Filter

BAND = 1 << 13
"""Pixels of a band at most; 64 to 256 features of them fit into the cache of a core."""
NUMBERS = 1 << 20
"""Numbers of the widest layer of a band at most, in bfloat16: so little time goes into the arithmetic that it pays to
have fewer of them in the cache."""
LEAST = 8
"""Rows of a band at least: a kernel must not reach beyond its neighbour."""
Edge = tuple[fx.Node, fx.Node]
"""A node, and one that uses it."""
_making = Lock()


@dataclass(frozen=True)
class Ready:
    """A network ready for inference on a device."""

    module: Any
    """The network; a foreign one is a callable from tensor to tensor."""
    record: Architecture
    device: str
    batches: Batches

    def tensor(self, values: NDArray[np.float32]) -> Tensor:
        """Bring an array to the device; from pinned memory to a GPU, which need not wait for it."""
        tensor = torch.from_numpy(values)
        if self.device.startswith("cuda"):
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def inner(self, images: Tensor, margin: int) -> Tensor:
        """Evaluate a fixed-scale network, but for what ``margin`` input pixels along each side become."""
        if self.record.trunk is None:
            return without_margin(self.module(images), images, margin)
        out: Tensor = self.module(images, margin)
        return out

    def run(self, evaluate: Callable[[slice], Tensor], images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Evaluate images in batches that fit into memory, one after the other."""
        with torch.inference_mode():
            parts = list(self.batches.run(lambda part: evaluate(part).cpu().numpy(), images))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def ready(spec: ModelSpec, precision: Exact, device: str) -> Ready:
    """Network of a spec, ready for inference; made once per process, precision and device, and shared.

    Parameters
    ----------
    spec
        Identity of the weights.
    precision
        Format of the numbers between the first and the last layer; those two, input and output are float32.
    device
        Torch device.

    Returns
    -------
    Ready
        Its trunk is evaluated in `Bands`; a network without one, and a foreign network, are as
        `xsr.models.registry.load` returns them.
    """
    with _making:  # threads of one worker wait for the first
        return _ready(spec, precision, device, catalogue.version())


@lru_cache(maxsize=8)
def _ready(spec: ModelSpec, precision: Exact, device: str, version: int) -> Ready:
    """Make a network ready; ``version`` of the catalogue is part of the key alone."""
    found = loaded(spec, device)
    return Ready(_prepared(found.network, found.record, precision), found.record, device, Batches.on(device))


def _prepared(network: Any, record: Architecture, precision: Exact) -> Any:
    """Network with its trunk in bands, and in bfloat16 where that is chosen."""
    if record.trunk is None:
        return network
    made = copy.deepcopy(network)
    trunk = made.get_submodule(record.trunk)
    if precision == "bfloat16":
        lower(trunk)
        if record.head:
            lower(made.get_submodule(record.head), first=False)
    if not record.trunk:
        return Bands(made)
    _replace(made, record.trunk, Bands(trunk))
    return made


class Cast(nn.Module):
    """Change the number format."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor to the same numbers in another format."""
        return x.to(self.dtype)


def lower(module: nn.Module, *, first: bool = True) -> None:
    """Cast a network to bfloat16, all but its first and its last layer with weights.

    The first layer reads the input in full and the last one makes the output in full; together they are a hundredth of
    the arithmetic.

    Parameters
    ----------
    module
        Changed in place.
    first
        Whether to spare the first layer.
    """
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    spared = {names[-1]: copy.deepcopy(module.get_submodule(names[-1]))}
    if first:
        spared[names[0]] = copy.deepcopy(module.get_submodule(names[0]))
    module.to(torch.bfloat16)
    for name, layer in spared.items():
        after = torch.float32 if name == names[-1] else torch.bfloat16
        _replace(module, name, nn.Sequential(Cast(torch.float32), layer, Cast(after)))


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, layer)


class Bands(nn.Module):
    """A convolutional network evaluated band by band on a CPU; equal to the network itself.

    Parameters
    ----------
    whole
        Network of convolutions of step one and of row-wise operations; any other is evaluated whole.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.whole = whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._narrow = any(number.dtype == torch.bfloat16 for number in whole.parameters())
        self._nodes = _program(whole)
        width = max((layer.out_channels for layer in whole.modules() if isinstance(layer, nn.Conv2d)), default=1)
        self._most = NUMBERS // width if self._narrow else BAND
        self._layers = {node: layer_of(whole, node) for node, _ in self._nodes}
        self._convolutions = _convolutions(self._layers)
        self._reach = _reaches(whole, [node for node, _ in self._nodes])

    @property
    def cut(self) -> bool:
        """Whether the network can be cut into bands."""
        return bool(self._nodes)

    def forward(self, x: Tensor, margin: int = 0) -> Tensor:
        """Map (N, C, H, W) to the output of the network, but for what ``margin`` pixels along each side become."""
        rows = max(LEAST, min(BAND, self._most) // x.shape[3] // SIZE * SIZE)
        x = x.contiguous(memory_format=torch.channels_last)
        if not self.cut or x.device.type != "cpu" or x.requires_grad:  # a derivative needs all activations
            return without_margin(self.whole(x), x, margin)
        last = self._reach[self._nodes[-1][0]]
        spare = last.spare(margin)
        if min(spare) >= 0:
            unread = min(spare) // last.scale
            inner = [self._stream(image, rows, _State(self._excess())) for image in _crop(x, unread, unread).split(1)]
            return _crop(_together(inner), *last.spare(margin - unread))
        if x.shape[2] < 2 * rows and not self._narrow:  # in bfloat16 bands round less often, and must do so always
            return without_margin(self.whole(x), x, margin)
        padded = [self._stream(image, rows, _State()) for image in x.split(1)]
        return without_margin(_together(padded), x, margin)

    def _excess(self) -> dict[Edge, tuple[int, int]]:
        """Rows and columns at each side that an input of a node has beyond another input of it."""
        pairs = [(s, user) for user in self._reach for s in user.all_input_nodes if len(user.all_input_nodes) > 1]
        return {(s, user): self._reach[user].beyond(self._reach[s]) for s, user in pairs if s in self._reach}

    def _stream(self, image: Tensor, rows: int, state: "_State") -> Tensor:
        """Move an image through the network, band by band."""
        filtered = any(isinstance(layer, Filter) for layer in self._convolutions.values())
        with pooled() if filtered else nullcontext():
            return self._rows(image, rows, state)

    def _rows(self, image: Tensor, rows: int, state: "_State") -> Tensor:
        height, last = image.shape[2], self._reach[self._nodes[-1][0]]
        count = height * last.scale - (0 if state.excess is None else 2 * last.rows)
        out, begin = image.new_empty(0), 0
        for start in range(0, height, rows):
            band = self._advance(image[:, :, start : start + rows], state, last=start + rows >= height)
            if band is None:
                continue
            if begin == 0:
                size = *band.shape[:2], count, band.shape[3]
                out = torch.empty(size, dtype=band.dtype, memory_format=torch.channels_last)
            out[:, :, begin : begin + band.shape[2]] = band
            begin += band.shape[2]
        return out

    def _advance(self, band: Tensor, state: "_State", *, last: bool) -> Tensor | None:
        """Move a band as far as it gets."""
        for node, done in self._nodes:
            if node.op == "placeholder":
                state.put(node, band)
            elif node.op == "output":
                (source,) = node.all_input_nodes
                made = state.rows(source, node)
                state.held.pop(source, None)
                return made
            else:
                self._compute(node, state, last)
            for source in done:
                state.release(source)
        raise AssertionError("a graph ends with its output")

    def _compute(self, node: fx.Node, state: "_State", last: bool) -> None:
        """Make the rows of a node that follow from those held of its inputs."""
        if node.op == "get_attr":
            state.held[node] = _attribute(self.whole, str(node.target))
            return
        values: dict[fx.Node, Any] = {source: state.rows(source, node) for source in node.all_input_nodes}
        layer = self._layers[node]
        if isinstance(layer, nn.Conv2d):
            ((source, value),) = values.items()
            padded, count = _padded(layer, value, first=node not in state.begun, last=last, pad=state.excess is None)
            if padded is not None:
                state.begun.add(node)
                state.take(source, node, count)
                state.put(node, self._convolutions[node](padded))
            return
        images = {source: value for source, value in values.items() if _is_image(value)}
        if not images:
            state.held[node] = _call(node, layer, values)
            return
        count = min(0 if value is None else value.shape[2] for value in images.values())
        if count == 0:
            return
        for source, value in images.items():
            values[source] = images[source] = value[:, :, :count]
            state.take(source, node, count)
        write = writer(node, layer, list(images.values()))
        if write is None:
            state.put(node, _call(node, layer, values))
            return
        behind = state.behind(node, count)
        out = _space(layer, next(iter(images.values()))) if behind is None else behind
        share(partial(_write, write, node, values, out), count)
        if behind is None:
            state.put(node, out)


@dataclass(frozen=True)
class _State:
    """What stays between the bands of an image: of each node the rows that a user of it still needs."""

    excess: dict[Edge, tuple[int, int]] | None = None
    """Rows at the top and columns at each side of a node that a user of it has no use for; None: the borders of the
    image are padded, and all nodes are of one size."""
    held: dict[fx.Node, Tensor] = field(default_factory=dict)
    """Rows of a node, or a number that all pixels share."""
    taken: dict[Edge, int] = field(default_factory=dict)
    """Of the rows held, and those to come, how many a user is done with."""
    begun: set[fx.Node] = field(default_factory=set)
    """Convolutions whose upper border is done."""

    def rows(self, source: fx.Node, user: fx.Node) -> Tensor | None:
        """Return what a user has before it of a node."""
        held = self.held.get(source)
        if held is None or held.ndim != 4:
            return held
        cols = 0 if self.excess is None else self.excess.get((source, user), (0, 0))[1]
        return held[:, :, self._done(source, user) :, cols : held.shape[3] - cols]

    def _done(self, source: fx.Node, user: fx.Node) -> int:
        skipped = 0 if self.excess is None else self.excess.get((source, user), (0, 0))[0]
        return self.taken.get((source, user), skipped)

    def take(self, source: fx.Node, user: fx.Node, count: int) -> None:
        """Have a user done with so many more rows of a node."""
        self.taken[source, user] = self._done(source, user) + count

    def put(self, node: fx.Node, rows: Tensor) -> None:
        """Add rows of a node to those held."""
        before = self.held.get(node)
        self.held[node] = rows if before is None else torch.cat((before, rows), dim=2)

    def behind(self, node: fx.Node, count: int) -> Tensor | None:
        """Return memory for rows of a node behind those held, so that no band is copied; None if none are held."""
        before = self.held.get(node)
        if before is None:
            return None
        size = *before.shape[:2], before.shape[2] + count, before.shape[3]
        whole = torch.empty(size, dtype=before.dtype, memory_format=torch.channels_last)
        whole[:, :, :-count] = before
        self.held[node] = whole
        return whole[:, :, -count:]

    def release(self, source: fx.Node) -> None:
        """Forget the rows that all users are done with; what stays is copied, so that the band can go."""
        held = self.held.pop(source, None)
        if held is None or held.ndim != 4:
            return
        done = min([held.shape[2], *(self._done(source, user) for user in source.users)])
        for user in source.users:
            self.taken[source, user] = self._done(source, user) - done
        if done < held.shape[2]:
            self.held[source] = held[:, :, done:].clone()


def _program(module: nn.Module) -> list[tuple[fx.Node, list[fx.Node]]]:
    """Nodes of a network's graph in order, each with those not needed after it; none if it cannot be cut into bands."""
    try:
        graph = fx.Tracer().trace(module)
    except (fx.proxy.TraceError, TypeError, RuntimeError):
        return []
    if not all(_is_cut(module, node) for node in graph.nodes):
        return []
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):  # as the last sum of a loop
            graph.erase_node(node)
    absorb(module, graph)
    nodes = list(graph.nodes)
    last_use = {node: node for node in nodes} | {source: user for user in nodes for source in user.all_input_nodes}
    return [(node, [source for source, user in last_use.items() if user is node]) for node in nodes]


def _is_cut(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node can be computed row by row, a convolution with its neighbours."""
    layer = layer_of(module, node)
    if isinstance(layer, nn.Conv2d):
        return _is_plain(layer)
    if node.op == "get_attr":
        return _attribute(module, str(node.target)).ndim == 0
    return node.op in ("placeholder", "output") or is_rowwise(node, layer)


def _is_plain(layer: nn.Conv2d) -> bool:
    """Whether a convolution keeps the size of its image."""
    same = layer.padding == tuple(size // 2 for size in layer.kernel_size) and all(k % 2 for k in layer.kernel_size)
    return same and layer.stride == (1, 1) and layer.dilation == (1, 1)


@dataclass(frozen=True)
class _Reach:
    """Pixels along each side of a node that depend on what lies beyond the image."""

    scale: int = 1
    """Pixels of the node for one of the image."""
    rows: int = 0
    cols: int = 0

    def spare(self, margin: int) -> tuple[int, int]:
        """Rows and columns that remain of a margin of the image."""
        return margin * self.scale - self.rows, margin * self.scale - self.cols

    def beyond(self, other: "_Reach") -> tuple[int, int]:
        """Rows and columns that this one has more than another of the same scale."""
        return self.rows - other.rows, self.cols - other.cols


def _reaches(module: nn.Module, nodes: list[fx.Node]) -> dict[fx.Node, _Reach]:
    """Reach of every node that is an image."""
    found: dict[fx.Node, _Reach] = {}
    for node in nodes:
        sources = [found[source] for source in node.all_input_nodes if source in found]
        if sources or node.op == "placeholder":
            before = _Reach(*(max(values) for values in zip(*map(astuple, sources or [_Reach()]), strict=True)))
            found[node] = _reach_after(before, module, node)
    return found


def _reach_after(before: _Reach, module: nn.Module, node: fx.Node) -> _Reach:
    """Reach of a node from that of its inputs."""
    layer = layer_of(module, node)
    if isinstance(layer, nn.Conv2d):
        above, beside = (size // 2 for size in layer.kernel_size)
        return replace(before, rows=before.rows + above, cols=before.cols + beside)
    factor = getattr(layer, "upscale_factor", 1)
    if node.target is nn.functional.interpolate:
        factor = node.kwargs["scale_factor"]
    factor = int(factor)
    return _Reach(before.scale * factor, before.rows * factor, before.cols * factor)


def without_margin(out: Tensor, image: Tensor, margin: int) -> Tensor:
    """Cut off what ``margin`` pixels along each side of an image became."""
    rows, cols = (margin * made // size for made, size in zip(out.shape[2:], image.shape[2:], strict=True))
    return _crop(out, rows, cols)


def _crop(out: Tensor, rows: int, cols: int) -> Tensor:
    return out[:, :, rows : out.shape[2] - rows, cols : out.shape[3] - cols]


def _together(images: list[Tensor]) -> Tensor:
    return images[0] if len(images) == 1 else torch.cat(images)


def _is_image(value: Tensor | None) -> bool:
    """Whether a value is a band, not a number that all pixels share."""
    return value is None or value.ndim == 4


def _attribute(module: nn.Module, name: str) -> Tensor:
    value: Tensor = operator.attrgetter(name)(module)
    return value


def _padded(layer: nn.Conv2d, x: Tensor | None, *, first: bool, last: bool, pad: bool) -> tuple[Tensor | None, int]:
    """Rows to convolve, padded where they touch the border; and how many the next band does not need any more."""
    above, beside = (size // 2 for size in layer.kernel_size)
    if x is None or (x.shape[2] <= 2 * above and not (last and pad)):
        return None, 0
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    pads = (beside, beside, above if first else 0, above if last else 0) if pad else (0, 0, 0, 0)
    padded = nn.functional.pad(x, pads, mode=mode) if any(pads) else x
    return padded, max(0, x.shape[2] - 2 * above)


def _convolutions(layers: dict[fx.Node, nn.Module | None]) -> dict[fx.Node, Callable[[Tensor], Tensor]]:
    """Make what convolves at each node; once for nodes that share a layer."""
    wanted = {node: (layer, slope_of(node)) for node, layer in layers.items() if isinstance(layer, nn.Conv2d)}
    made = {pair: convolution(*pair) for pair in set(wanted.values())}
    return {node: made[pair] for node, pair in wanted.items()}


def _call(node: fx.Node, layer: nn.Module | None, values: dict[fx.Node, Any]) -> Tensor:
    args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
    if layer is not None:
        out: Tensor = layer(*args, **kwargs)
    elif node.op == "call_method":
        out = getattr(args[0], str(node.target))(*args[1:], **kwargs)
    else:
        out = node.target(*args, **kwargs)  # type: ignore[operator]
    slope = slope_of(node)
    return out if slope == 1 else nn.functional.leaky_relu(out, slope)


def _write(write: Callable[..., Any], node: fx.Node, values: dict[fx.Node, Any], out: Tensor, rows: slice) -> None:
    """Make some rows of what a writer makes."""
    some = {source: value if value.ndim != 4 else value[:, :, rows] for source, value in values.items()}
    args, kwargs = fx.map_arg((node.args, node.kwargs), some.__getitem__)
    write(*args, **kwargs, out=out[:, :, rows])


def _space(layer: nn.Module | None, first: Tensor) -> Tensor:
    """Memory for what a writer makes: that of the input where a layer works in place and its writer can."""
    if getattr(layer, "inplace", False) and not narrow([first]):
        return first
    return torch.empty(first.shape, dtype=first.dtype, memory_format=torch.channels_last)
