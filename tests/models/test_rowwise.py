"""Operations that write where they are told to give what the operation itself gives."""

import operator

import pytest
import torch
from torch import fx, nn

from xsr.models import rowwise
from xsr.models.convolutions import convolution
from xsr.models.rowwise import absorb, layer_of, slope_of, writer


class One(nn.Module):
    """A network of one operation."""

    def __init__(self, make, layer=None):
        super().__init__()
        self.make, self.layer = make, layer

    def forward(self, x, y):
        return self.layer(x) if self.layer is not None else self.make(x, y)


CASES = {
    "sum": One(operator.add),
    "torch.add": One(torch.add),
    "product": One(operator.mul),
    "sum with a number": One(lambda x, y: x + 0.3),
    "product with a number": One(lambda x, y: x * 0.3),
    "sum with a factor": One(lambda x, y: torch.add(x, y, alpha=2)),
    "sum with itself": One(lambda x, y: x + x),
    "torch.relu": One(lambda x, y: torch.relu(x)),
    "ReLU": One(None, nn.ReLU()),
    "LeakyReLU": One(None, nn.LeakyReLU(0.2)),
}


def node_of(network):
    graph = fx.Tracer().trace(network)
    (node,) = [n for n in graph.nodes if n.op not in ("placeholder", "output")]
    return node, network.layer


def images(dtype, columns=12):
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(2, 1, 5, 7, columns, generator=generator).to(dtype)
    return [one.contiguous(memory_format=torch.channels_last) for one in made]


@pytest.fixture
def kernels(monkeypatch):
    """Calls of the kernels for bfloat16."""
    seen = []
    for name in ("add", "leak"):
        kernel = getattr(rowwise, name)
        monkeypatch.setattr(rowwise, name, lambda *args, kernel=kernel: seen.append(args) or kernel(*args))
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cropped", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_operation_itself(kernels, name, cropped, dtype):
    network = CASES[name]
    node, layer = node_of(network)
    values = dict(zip(("x", "y"), images(dtype), strict=True))
    if cropped:
        values = {key: value[..., 2:-2] for key, value in values.items()}
    wanted = network(*values.values())
    inputs = [values[source.name] for source in node.all_input_nodes]
    write = writer(node, layer, inputs)
    assert write is not None
    out = torch.full_like(wanted, 9.0, memory_format=torch.channels_last)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: values[source.name])
    with torch.inference_mode():
        write(*args, **kwargs, out=out)
    assert torch.equal(out, wanted)
    ours = name in ("sum", "torch.add", "torch.relu", "ReLU", "LeakyReLU")
    assert bool(kernels) is (ours and dtype == torch.bfloat16)


def test_images_that_are_not_alike_are_left_to_pytorch():
    node, layer = node_of(CASES["sum"])
    one, other = images(torch.float32)
    assert writer(node, layer, [one, other]) is not None
    assert writer(node, layer, [one, other[:, :1]]) is None
    assert writer(node, layer, [one, other.double()]) is None


def test_channels_that_lie_apart_are_not_read_by_kernels(kernels):
    node, layer = node_of(CASES["sum"])
    one, other = (x.contiguous() for x in images(torch.bfloat16))
    write, out = writer(node, layer, [one, other]), torch.empty_like(one)
    write(one, other, out=out)
    assert torch.equal(out, one + other)
    assert not kernels


def test_a_cut_of_an_image_is_read_in_place(kernels):
    """No copy is made of it."""
    (one, _), (node, layer) = images(torch.bfloat16), node_of(CASES["LeakyReLU"])
    out = torch.empty(1, 5, 7, 8, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    part = one[..., 2:-2]
    writer(node, layer, [part])(part, out=out)
    ((bits, step, *_),) = kernels
    assert bits.ctypes.data == part.data_ptr()
    assert step == one.stride(2)


class Followed(nn.Module):
    """Activations behind everything they may follow."""

    def __init__(self):
        super().__init__()
        self.rows, self.after, self.point, self.last = (
            nn.Conv2d(4, 4, size, padding=size // 2) for size in (3, 3, 1, 3)
        )
        self.leaky, self.relu = nn.LeakyReLU(0.2, inplace=True), nn.ReLU()

    def forward(self, x):
        a = self.leaky(self.rows(x))  # whose rows wait for the next layer
        b = self.relu(self.after(a))  # done by the convolution
        c = torch.relu(self.point(b) + x)  # by the sum
        d = self.point(c)
        return self.last(self.leaky(d * 0.5)) + torch.relu(d) + d  # by nothing: a product, and one of two users


def test_convolutions_and_sums_do_the_activation_behind_them():
    network = Followed()
    graph = fx.Tracer().trace(network)
    before = len(graph.nodes)
    absorb(network, graph)
    slopes = {node.name: slope_of(node) for node in graph.nodes}
    assert {name: slope for name, slope in slopes.items() if slope != 1} == {"after": 0.0, "add": 0.0}
    assert len(graph.nodes) == before - 2
    graph.lint()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_network_answers_as_before(dtype):
    network, x = Followed().to(dtype).eval(), images(dtype)[0][:, :4]
    graph = fx.Tracer().trace(network)
    absorb(network, graph)
    values = {}
    with torch.inference_mode():
        wanted = network(x)
        for node in graph.nodes:
            args = fx.map_arg(node.args, values.__getitem__)
            layer = layer_of(network, node)
            if node.op == "placeholder":
                values[node] = x
            elif isinstance(layer, nn.Conv2d):
                padded = nn.functional.pad(*args, [layer.padding[0]] * 4)
                values[node] = convolution(layer, slope_of(node))(padded)
            elif node.op == "output":
                made = args[0]
            else:
                inputs = [values[source] for source in node.all_input_nodes]
                values[node] = torch.empty_like(inputs[0], memory_format=torch.channels_last)
                writer(node, layer, inputs)(*args, out=values[node])
    error = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    assert float((made - wanted).abs().max()) <= error * float(wanted.abs().max())
