"""Bands equal the whole, bfloat16 is where it should be, and threads are given back."""

from threading import Thread

import numpy as np
import pytest
import torch
from models.helpers import lively, lively_carn, write_fixed, write_model
from torch import nn

from xsr.models import engine, predictor, registry
from xsr.models.architectures.edsr import EDSREncoder
from xsr.models.architectures.injection import Injection
from xsr.models.architectures.liif import LIIF
from xsr.models.convolutions import convolution
from xsr.models.threads import sharing, threads


@pytest.fixture
def narrow(monkeypatch):
    """Bands of few rows, so that a small image has several."""
    monkeypatch.setattr(engine, "BAND", 1)


def image(height, width, channels=4, count=1, seed=0):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def largest(left, right):
    return float((left - right).abs().max())


class Varied(nn.Module):
    """Every row-wise operation on layers that lag behind one another, and a layer that nothing uses."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect") for _ in range(4))
        self.share = nn.Parameter(torch.tensor(0.5))
        self.leaky = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x):
        first = torch.relu(self.a(x))
        self.d(first)
        second = self.share * torch.mul(self.b(first), first) + x
        third = torch.add(self.c(self.leaky(second + 1.0)), second)
        return self.d(third * first)


CUT = {
    "every operation": lambda: Varied(),
    "carn": lambda: lively_carn(),
    "carn, factor 4, two cascades": lambda: lively_carn(factor=4, cascades=2, blocks=2),
    "carn, sum then mix, relu": lambda: lively_carn(wiring="sum_then_mix", activation="relu"),
    "esrgan_1x8x4": lambda: registry.create("esrgan_1x8x4", bands=4, residual=False).eval(),
    "edsr": lambda: EDSREncoder(4, 8, 2),
    "valid sizes": lambda: nn.Sequential(nn.Conv2d(4, 6, (3, 5), padding=(1, 2)), nn.ReLU(), nn.Conv2d(6, 2, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize(("height", "width"), [(16, 5), (29, 7), (64, 3)])
def test_bands_equal_the_whole(narrow, name, height, width):
    network = CUT[name]().double()
    bands = engine.Bands(network)
    x = image(height, width, count=2).double()
    with torch.inference_mode():
        wanted = network(x)
        assert bands.cut
        assert bands(x).shape == wanted.shape
        assert largest(bands(x), wanted) <= 1e-12 * float(wanted.std())


def test_bands_move_through_the_network_once(narrow, monkeypatch):
    """Every layer sees each row once, but for the rows that its kernel reaches."""
    seen = []

    def watched(layer, slope):
        convolve = convolution(layer, slope)
        return lambda x: seen.append(x.shape[2]) or convolve(x)

    monkeypatch.setattr(engine, "convolution", watched)
    bands = engine.Bands(EDSREncoder(4, 8, 2))
    with torch.inference_mode():
        bands(image(40, 5))
    layers, calls = 6, len(seen)
    assert max(seen) < 40
    assert sum(seen) == layers * 40 + 2 * calls


def test_what_nothing_uses_is_not_computed(narrow, monkeypatch):
    """Neither the convolution nor the sum, product and activation before it that nothing else uses."""

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.leaky = nn.LeakyReLU(0.2, inplace=True)

        def forward(self, x):
            made = self.a(x)
            self.b(self.leaky((made + x) * made))
            return made

    seen = set()

    def watched(layer, slope):
        convolve = convolution(layer, slope)
        return lambda x: seen.add(layer) or convolve(x)

    monkeypatch.setattr(engine, "convolution", watched)
    monkeypatch.setattr(engine, "writer", lambda node, *_: pytest.fail(f"{node} is computed"))
    network, x = Unused(), image(40, 5)
    with torch.inference_mode():
        bands = engine.Bands(network)
        assert bands.cut
        assert largest(bands(x), network(x)) <= 1e-6
    assert seen == {network.a}


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("margin", [1, 5, 11, 14])
def test_a_margin_is_seen_and_not_answered(narrow, name, margin):
    network = CUT[name]().double()
    x = image(40, 31, count=2).double()
    with torch.inference_mode():
        whole = network(x)
        factor = whole.shape[2] // 40
        wanted = whole[:, :, factor * margin : -factor * margin, factor * margin : -factor * margin]
        made = engine.Bands(network)(x, margin)
    assert made.shape == wanted.shape
    assert largest(made, wanted) <= 1e-12 * float(wanted.std())


def test_of_a_margin_no_more_is_computed_than_later_layers_need(narrow, monkeypatch):
    pixels = {}

    def watched(layer, slope):
        convolve = convolution(layer, slope)

        def watch(x):
            out = convolve(x)
            pixels[layer] = pixels.get(layer, 0) + out.shape[2] * out.shape[3]
            return out

        return watch

    monkeypatch.setattr(engine, "convolution", watched)
    bands = engine.Bands(EDSREncoder(4, 8, 2))
    with torch.inference_mode():
        bands(image(40, 30), 6)
    assert list(pixels.values()) == [(40 - 2 * done) * (30 - 2 * done) for done in range(1, 7)]


class Changed(nn.Module):
    """Changes in place what is used once more."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.convolution(x)
        return self.relu(y) + y


class Stacked(nn.Module):
    """Joins an image to itself from above."""

    def forward(self, x):
        return torch.cat((x, x), 2)


class Enlarged(nn.Module):
    """Enlarges an image so that its rows do not follow from those of a band."""

    def __init__(self, **how):
        super().__init__()
        self.how = how

    def forward(self, x):
        return nn.functional.interpolate(x, mode="nearest", **self.how)


class Scaled(nn.Module):
    """Multiplies by numbers that are multiplied first."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)
        self.one, self.other = (nn.Parameter(torch.tensor(v)) for v in (2.0, 3.0))

    def forward(self, x):
        return self.convolution(x) * (self.one * self.other)


class Activated(nn.Module):
    """Activations of sums that are not of two images alike, and one behind another."""

    def __init__(self):
        super().__init__()
        self.wide, self.one = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.leaky, self.weak = nn.LeakyReLU(0.5), nn.LeakyReLU(0.1)
        self.first, self.second = nn.Parameter(torch.tensor(-2.0)), nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        wide = self.wide(x)
        broadcast = self.leaky(wide + self.one(x))
        number = self.leaky(self.first + self.second)
        return self.weak(self.leaky(broadcast * number + x))


@pytest.mark.parametrize("margin", [0, 6])
def test_no_activation_is_lost(narrow, margin):
    network, x = Activated(), image(32, 24)
    bands = engine.Bands(network)
    assert bands.cut
    with torch.inference_mode():
        wanted = network(x)[:, :, margin : 32 - margin, margin : 24 - margin]
        assert largest(bands(x, margin), wanted) <= 1e-5


def test_numbers_for_all_pixels_may_be_computed(narrow):
    network, x = Scaled(), image(32, 6)
    bands = engine.Bands(network)
    assert bands.cut
    with torch.inference_mode():
        assert largest(bands(x), network(x)) <= 1e-5


@pytest.mark.parametrize(
    "network",
    [
        Changed(),
        Stacked(),
        Enlarged(size=(40, 6)),
        Enlarged(scale_factor=1.5),
        nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1)),
        nn.Sequential(nn.Conv2d(4, 4, 3)),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=2, dilation=2)),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding="same")),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.InstanceNorm2d(4)),
    ],
)
def test_other_networks_are_evaluated_whole(narrow, network):
    bands = engine.Bands(network)
    assert not bands.cut
    x = image(32, 6)
    assert torch.equal(bands(x), network(x.contiguous(memory_format=torch.channels_last)))


def test_a_network_with_its_own_base_is_evaluated_whole(narrow):
    network = lively_carn(residual=True)
    x = image(32, 6)
    with torch.inference_mode():
        assert largest(engine.Bands(network)(x), network(x)) <= 1e-5


@pytest.mark.parametrize("name", ["carn_1x1x4g2", "esrgan_1x8x4", "srcnn"])
def test_first_and_last_layer_stay_float32(name):
    network = registry.create(name, bands=4).eval()
    before = [layer.weight.clone() for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    engine.lower(network)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert {layer.weight.dtype for layer in layers[1:-1]} == {torch.bfloat16}
    for now, was in ((layers[0], before[0]), (layers[-1], before[-1])):
        assert torch.equal(now.weight, was)
    with torch.inference_mode():
        assert network(image(9, 8)).dtype == torch.float32


def test_a_single_layer_stays_float32():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1))
    x = image(8, 8)
    wanted = network(x)
    engine.lower(network)
    assert torch.equal(network(x), wanted)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rows_do_not_depend_on_the_bands(precision, monkeypatch, tmp_path, device):
    """The same numbers whatever the height of the bands, but for the few sums that bfloat16 rounds another way."""
    spec = registry.spec(write_fixed(tmp_path))
    x = image(70, 20).numpy()
    made = []
    for band in (1, 20 * 16, 20 * 70):
        monkeypatch.setattr(engine, "BAND", band)
        made.append(predictor.predict_fixed(spec, x, device, precision))
    mean, most = (1e-6, 1e-5) if precision == "float32" else (1e-3, 2e-2)
    assert max(np.abs(one - made[0]).mean() for one in made) <= mean * made[0].std()
    assert max(np.abs(one - made[0]).max() for one in made) <= most * made[0].std()
    assert np.array_equal(predictor.predict_fixed(spec, x, device, precision), made[-1])


def test_bfloat16_is_close_and_not_the_same(tmp_path, device):
    axis = np.arange(40) / 2.0
    images = image(20, 20).numpy()
    fixed, liif = registry.spec(write_fixed(tmp_path)), registry.spec(write_model(tmp_path))
    asks = {
        "fixed": lambda p: predictor.predict_fixed(fixed, images, device, p),
        "liif": lambda p: predictor.predict_continuous(liif, images, axis, axis, (0.5, 0.5), device, p),
    }
    for ask in asks.values():
        full, half = ask("float32"), ask("bfloat16")
        assert half.dtype == np.float32
        assert 0 < np.abs(half - full).max() <= 0.05 * full.std()


def test_prepared_once_and_the_loaded_network_untouched(tmp_path):
    spec = registry.spec(write_model(tmp_path))
    made = engine.ready(spec, "bfloat16", "cpu")
    assert engine.ready(spec, "bfloat16", "cpu") is made
    assert engine.ready(spec, "float32", "cpu") is not made
    assert isinstance(made.module, LIIF)
    loaded = registry.load(spec)
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
    assert isinstance(loaded.encoder, EDSREncoder)


def test_prepared_liif_answers_as_the_plain_one(tmp_path, device):
    network = lively(LIIF(channels=4, outputs=4, features=8, blocks=1, hidden=[16, 16]))
    spec = registry.spec(write_model(tmp_path))
    images, axis = image(30, 12), np.linspace(1.0, 10.0, 15)
    made = predictor.predict_continuous(spec, images.numpy(), axis, axis, (0.5, 0.5), device)
    rows, cols = (torch.from_numpy(v.ravel()) for v in np.meshgrid(axis, axis, indexing="ij"))
    with torch.inference_mode():
        wanted = network(images, rows, cols, (0.5, 0.5)).permute(0, 2, 1).reshape(made.shape).numpy()
    assert np.abs(made - wanted).max() <= 1e-5 * wanted.std()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_body_of_an_injection_is_prepared_alone(narrow, tmp_path, precision, device):
    """What is found by regression stays in single precision."""
    model = write_fixed(tmp_path, config={"guides": 3})
    spec, images = registry.spec(model), image(70, 40)
    made = engine.ready(spec, precision, "cpu").module
    assert isinstance(made, Injection)
    assert made.body.cut
    assert {p.dtype for p in made.body.whole.residual_1d_conv.parameters()} == {getattr(torch, precision)}
    found = predictor.predict_fixed(spec, images.numpy(), device, precision)
    with torch.inference_mode():
        wanted = registry.load(spec)(images)
    gap = largest(torch.from_numpy(found), wanted) / float(wanted.std())
    assert gap <= (1e-4 if precision == "float32" else 0.2)
    assert precision == "float32" or gap > 0
    for margin in (3, 14, 17):  # less than the reach of the body, its radius, and more
        inner = predictor.predict_fixed(spec, images.numpy(), device, precision, margin)
        wanted = found[..., 2 * margin : -2 * margin, 2 * margin : -2 * margin]
        mean, most = (1e-5, 1e-4) if precision == "float32" else (2e-3, 1e-1)
        assert np.abs(inner - wanted).mean() <= mean * found.std()
        assert np.abs(inner - wanted).max() <= most * found.std()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("margin", [0, 9])
def test_threads_share_the_rows_of_a_filtered_network(narrow, monkeypatch, count, margin):
    """PyTorch has one thread meanwhile, which would wait actively, and as many as before afterwards."""
    seen, share = set(), engine.share

    def watched(work, length):
        seen.add((sharing(), torch.get_num_threads()))
        share(work, length)

    monkeypatch.setattr(engine, "share", watched)
    whole = lively_carn(features=16, groups=1, blocks=2)
    bands, x = engine.Bands(whole), image(43, 37, count=2)

    def made():
        torch.set_num_threads(count)
        with torch.inference_mode():
            return bands(x, margin), torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        found, after = made()
    finally:
        torch.set_num_threads(before)
    assert seen == {(count, 1)}
    assert after == count
    with torch.inference_mode():
        wanted = engine.without_margin(whole(x), x, margin)
    assert largest(found, wanted) <= 1e-4 * float(wanted.std())


def in_thread(call):
    found = []
    thread = Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(("most", "wanted"), [(1, 1), (2, 2), (8, 3)])
def test_threads_are_limited_here_alone(most, wanted):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:

        def limited():
            with threads(most):
                inside = torch.get_num_threads(), in_thread(torch.get_num_threads)
            return inside, torch.get_num_threads()

        assert in_thread(limited) == ((wanted, 3), 3)
        assert torch.get_num_threads() == 3
        assert in_thread(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(before)


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()

    def failing():
        try:
            with threads(1):
                raise ValueError
        except ValueError:
            return torch.get_num_threads()

    assert in_thread(failing) == before


def test_rows_that_wait_are_joined_without_a_copy_of_the_band(narrow, monkeypatch):
    """A row-wise operation writes behind what is held; of wide layers the first one alone is joined, for its sum."""
    joined = []
    cat = torch.cat
    monkeypatch.setattr(torch, "cat", lambda parts, dim=0: joined.append(parts[0].shape[1]) or cat(parts, dim))
    network = lively_carn()
    bands = 64 // engine.LEAST
    with torch.inference_mode():
        engine.Bands(network)(image(64, 40), 12)
    assert 0 < joined.count(network.input_conv.out_channels) < bands


@pytest.mark.parametrize(("dtype", "rows"), [(torch.float32, 32), (torch.bfloat16, 16)])
def test_a_band_of_a_wide_network_has_fewer_rows_in_bfloat16(monkeypatch, dtype, rows):
    seen = []

    def watched(layer, slope):
        return lambda x: seen.append(x.shape[2]) or x[:, :1, 1:-1, 1:-1].expand(-1, layer.out_channels, -1, -1)

    monkeypatch.setattr(engine, "convolution", watched)
    layer = nn.Conv2d(4, 256, 3, padding=1).to(dtype)
    with torch.inference_mode():
        engine.Bands(nn.Sequential(layer))(image(96, 256).to(dtype))
    assert seen == [rows + 1, *[rows + 2] * (96 // rows - 2), rows + 3]  # the borders, and what a kernel reaches


def test_a_derivative_is_that_of_the_whole(narrow):
    """Also through layers that are filtered otherwise, and across bands."""
    network, x = EDSREncoder(4, 64, 1), image(40, 24)
    before, after = x.clone().requires_grad_(), x.clone().requires_grad_()
    wanted = torch.autograd.grad(network(before)[:, :, 6:-6, 6:-6].square().sum(), before)[0]
    found = torch.autograd.grad(engine.Bands(network)(after, 6).square().sum(), after)[0]
    assert largest(found, wanted) <= 1e-4 * float(wanted.std())
