import itertools
import math

import numpy as np
import pytest
import torch
from helpers import ROUNDING_ULPS, ulps
from hypothesis import given
from hypothesis import strategies as st
from models.architectures.reach import count, image
from models.architectures.reach import lively as with_random_weights

from xsr.core.errors import ParameterError
from xsr.kernels.temporal import date_weights
from xsr.models.architectures.liif import LIIF, rename
from xsr.models.architectures.temporal_liif import (
    DateFusion,
    Radiometry,
    TemporalLIIF,
    TemporalLIIF3D,
    composite,
    equal_weights,
    kernel_weights,
    linear_weights,
    surroundings,
    time_code,
)

SMALL = {"channels": 3, "outputs": 2, "features": 8, "blocks": 1, "hidden": (7, 6), "heads": 2, "periods": 3}
SMALL_3D = {"channels": 3, "outputs": 2, "features": 4, "blocks": 1, "hidden": (7, 6)}
DAYS = torch.tensor([-40.0, 3.0, 8.5, 21.0, 380.0], dtype=torch.float64)
DOY = (DAYS + 100) % 365.25
TAU, TAU_DOY = 11.25, 111.25
CELL = (0.4, 0.4)


def lively(network, seed=0):
    """Random weights, with the attention reaching over several of the dates."""
    with_random_weights(network, seed)
    for module in network.modules():
        if isinstance(module, DateFusion):
            with torch.no_grad():
                module.log_reach.copy_(torch.linspace(math.log(10), math.log(60), module.heads))
    return network


def series(dates=5, batch=1, channels=3, size=6, seed=1):
    return image(channels, size, size, seed, batch * dates).unflatten(0, (batch, dates))


def holes(dates=5, batch=1, size=6, seed=2):
    """A mask with holes in which every pixel keeps a date."""
    valid = torch.rand(batch, dates, size, size, generator=torch.Generator().manual_seed(seed)) > 0.4
    valid[:, 1] = True
    return valid


def queries(size=6, count=15):
    return torch.rand(2, count, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * size - 0.5


def ask(network, x, valid, days=DAYS, doy=DOY, tau=TAU, tau_doy=TAU_DOY):
    with torch.inference_mode():
        return network(x, days, doy, valid, tau, tau_doy, *queries(), CELL)


# --- parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bands", "total"), [(10, 1_594_130), (3, 1_588_299)])
def test_parameter_counts(bands, total):
    network = TemporalLIIF(bands, bands)
    assert count(network) == total
    assert count(network.fusion) == 21_000
    assert count(network.encoder) == 1_220_416 + (bands - 3) * 576
    assert count(network.imnet) == 346_883 + (bands - 3) * 257
    assert network.radius == 36
    assert all(p.requires_grad for p in network.parameters())


def test_parameter_counts_of_the_form_with_three_dimensions():
    network = TemporalLIIF3D()
    assert count(network.encoder) == 3_656_896
    assert count(network.imnet) == 347_395
    assert count(network) == 4_004_291
    assert network.radius == 36


def test_keys_of_the_form_with_three_dimensions_are_the_published_ones():
    modules = ["encoder.head.0", "encoder.body.16", *(f"imnet.layers.{i}" for i in (0, 2, 4, 6, 8))]
    modules += [f"encoder.body.{i}.body.{j}" for i in range(16) for j in (0, 2)]
    state = TemporalLIIF3D(features=4).state_dict()
    assert set(state) == {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}
    assert state["encoder.head.0.weight"].shape == (4, 3, 3, 3, 3)
    assert rename("encoder.sub_mean.weight") is None


def test_encoder_and_decoder_have_the_names_and_values_of_liif():
    """Weights of a network for single images fit, and a single date is decoded as that network does."""
    network = TemporalLIIF(**SMALL).double()
    options = {key: SMALL[key] for key in ("channels", "outputs", "features", "blocks", "hidden")}
    single = with_random_weights(LIIF(**options))
    left = network.load_state_dict(single.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all(key.startswith("fusion.") for key in left.missing_keys)
    x = series(dates=1)
    everywhere = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    found = ask(network, x, everywhere, DAYS[:1], DOY[:1])
    with torch.inference_mode():
        wanted = single(x[:, 0], *queries(), CELL)
    assert (found - wanted).abs().max() <= 1e-14


def test_heads_divide_the_features():
    with pytest.raises(ParameterError, match="heads=8; expected a divisor of features=12"):
        DateFusion(12, heads=8)


# --- the temporal mean -------------------------------------------------------------------------------


def test_composite_by_hand():
    images = torch.tensor([1.0, 4.0, float("nan")]).reshape(1, 3, 1, 1, 1)
    valid = torch.tensor([True, True, False]).reshape(1, 3, 1, 1, 1)
    mean, n_valid = composite(images, torch.tensor([0.0, 40.0, 10.0]), valid, 10.0)
    a, b = math.exp(-10 / 30), math.exp(-30 / 30)
    assert mean.shape == n_valid.shape == (1, 1, 1, 1)
    assert mean.item() == pytest.approx((a * 1 + b * 4) / (a + b), rel=1e-6)
    assert n_valid.item() == 2


@pytest.mark.parametrize("bands", [1, 3])
def test_composite_masks_per_band_and_is_finite_where_nothing_is_valid(bands):
    images = series()
    valid = torch.rand(1, 5, bands, 6, 6, generator=torch.Generator().manual_seed(4)) > 0.5
    valid[..., 0, 0] = False
    images[:, :, :, 0, 0] = float("nan")
    mean, n_valid = composite(images, DAYS, valid, TAU, length=12.0)
    assert torch.equal(n_valid, valid.sum(1))
    assert (mean[..., 0, 0] == 0).all()
    for c, y, x in itertools.product(range(3), range(6), range(6)):
        seen = valid[0, :, min(c, bands - 1), y, x]
        if seen.any():
            weights = torch.exp(-(DAYS - TAU).abs() / 12)[seen]
            wanted = (weights * images[0, seen, c, y, x]).sum() / weights.sum()
            assert abs(mean[0, c, y, x] - wanted) <= 1e-12


def test_kernel_keeps_its_ratios_a_century_away():
    days = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64) + 1e5
    near = kernel_weights(torch.tensor([0.0, 1.0, -1.0]) + 50, torch.ones(1, 3, dtype=torch.bool), 0.0)
    far = kernel_weights(days, torch.ones(1, 3, dtype=torch.bool), 0.0)
    assert (near - far).abs().max() <= 1e-10
    assert float(far.sum()) == pytest.approx(1.0)


def test_times_of_each_image():
    images, valid = series(batch=2), torch.ones(2, 5, 1, 6, 6, dtype=torch.bool)
    days = torch.stack((DAYS, DAYS * 2))
    both, _ = composite(images, days, valid, torch.tensor([1.0, 7.0]))
    for i, tau in enumerate((1.0, 7.0)):
        alone, _ = composite(images[[i]], days[i], valid[[i]], tau)
        assert torch.allclose(both[[i]], alone, rtol=0, atol=1e-12)


# --- linear in time ----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-300, 300), min_size=1, max_size=7, unique=True),
    st.integers(-310, 310),
    st.integers(0, 99),
    st.sampled_from([(2, 3), (1, 2, 2)]),
)
def test_linear_weights_are_those_of_the_kernel(days, tau, seed, shape):
    days = np.sort(np.array(days, float))
    valid = np.random.default_rng(seed).random((2, len(days), *shape)) < 0.6
    found = linear_weights(torch.tensor(days), torch.from_numpy(valid), float(tau))
    assert found.dtype == torch.float64
    for mine, seen in zip(found.numpy(), valid, strict=True):
        np.testing.assert_allclose(mine, date_weights(seen, days - tau, method="linear", frames=1), rtol=0, atol=1e-7)


def test_linear_weights_by_hand_in_any_order_and_for_each_image():
    valid = torch.ones(2, 3, dtype=torch.bool)
    found = linear_weights(torch.tensor([10.0, 30.0, 0.0]), valid, torch.tensor([25.0, 4.0]))
    assert torch.allclose(found, torch.tensor([[0.25, 0.75, 0.0], [0.4, 0.0, 0.6]], dtype=torch.float64))
    twice = linear_weights(torch.tensor([0.0, 0.0, 9.0]), valid[:1], 3.0)  # two images of one day
    assert float(twice.sum()) == pytest.approx(1)
    assert float(twice[0, 2]) < 0.5
    assert (linear_weights(torch.tensor([0.0, 1.0, 2.0]), ~valid, 1.0) == 0).all()


def test_before_training_a_linear_fusion_is_the_linear_mean():
    network = TemporalLIIF(**SMALL, mean="linear").double()
    features, valid = series(batch=2, channels=8), holes(batch=2)
    with torch.inference_mode():
        fused, weights, attention = network.merge(features, DAYS, DOY, valid, TAU, TAU_DOY)
    assert torch.equal(weights, linear_weights(DAYS, valid, TAU))
    assert (fused - (weights[:, :, None] * features).sum(1)).abs().max() <= 1e-15
    assert not torch.allclose(weights, kernel_weights(DAYS, valid, TAU))
    assert attention.shape == (2, 5, 2, 6, 6)
    assert (attention.sum(1) - 1).abs().max() <= 1e-6
    assert (attention.movedim(2, 0)[:, ~valid] == 0).all()


def test_means_that_there_are():
    with pytest.raises(ParameterError, match="mean='median'; expected one of kernel, linear, equal"):
        TemporalLIIF(**SMALL, mean="median")


# --- what is enlarged ----------------------------------------------------------------------------------


def composed(network, images, known, valid, features=None):
    """Composite of two bands of a series, and its feature map."""
    features = series(batch=len(images), channels=8) if features is None else features
    fused, _, attention = network.merge(features.to(images.dtype), DAYS, DOY, valid, TAU, TAU_DOY)
    return network.compose(images, known, DAYS, TAU, fused, attention)


def per_band(valid, bands=2, seed=8):
    return valid[:, :, None] & (torch.rand(*valid.shape[:2], bands, 6, 6, generator=seeded(seed)) > 0.2)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("blend", [False, True])
@pytest.mark.parametrize(("mean", "weigh"), [("kernel", kernel_weights), ("linear", linear_weights)])
def test_before_training_the_composite_is_the_temporal_mean_band_by_band(blend, mean, weigh):
    network = TemporalLIIF(**SMALL, mean=mean, blend=blend).double()
    images, valid = series(batch=2, channels=2), holes(batch=2)
    known = per_band(valid)
    with torch.inference_mode():
        found = composed(network, images, known, valid)
    wanted = (weigh(DAYS, known, TAU) * images.masked_fill(~known, 0)).sum(1)
    assert (found - wanted).abs().max() <= 1e-12


def lively_blend(dtype=torch.float64):
    network = lively(TemporalLIIF(**SMALL, mean="linear", blend=True)).to(dtype)
    with torch.no_grad():
        network.mix.copy_(torch.tensor([[2.0, -2.0], [-1.0, 1.0]]))
        network.gate.weight.mul_(3)
    return network


def test_blend_written_out():
    network = lively_blend()
    images, valid, features = series(channels=2), holes(), series(channels=8)
    known = per_band(valid)
    with torch.inference_mode():
        fused, _, attention = network.merge(features, DAYS, DOY, valid, TAU, TAU_DOY)
        found = network.compose(images, known, DAYS, TAU, fused, attention)
        gate, mix = torch.tanh(network.gate(fused)), network.mix.softmax(1)
        linear = linear_weights(DAYS, known, TAU)
    for c, y, x in itertools.product(range(2), range(6), range(6)):
        seen = known[0, :, c, y, x]
        image = images[0, seen, c, y, x]
        mean = (linear[0, seen, c, y, x] * image).sum() if seen.any() else torch.tensor(0.0)
        share = (mix[c] * attention[0, seen, :, y, x]).sum(1)
        other = (share * image).sum() / share.sum() if seen.any() else mean
        wanted = mean + gate[0, c, y, x] * (other - mean)
        assert abs(float(found[0, c, y, x] - wanted)) <= 1e-9
    assert (found - (linear * images.masked_fill(~known, 0)).sum(1)).abs().max() > 0.1


def test_what_lies_under_a_mask_changes_no_composite():
    network = lively_blend()
    images, valid = series(channels=2), holes()
    valid[:, 3] = False
    known = per_band(valid)
    results = []
    with torch.inference_mode():
        for under in (0.0, 1e3, float("nan")):
            results.append(composed(network, torch.where(known, images, under), known, valid))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert torch.isfinite(results[0]).all()


def test_a_composite_of_equal_dates_is_those_dates_however_thin_the_attention():
    """The blend averages: it neither adds nor loses, also where only dates far from the attention are known."""
    network = lively_blend(torch.float32)
    with torch.no_grad():
        network.fusion.log_reach.fill_(math.log(0.5))  # the attention sees next to nothing beyond days
    images, valid = torch.full((1, 5, 2, 6, 6), 0.7), torch.ones(1, 5, 6, 6, dtype=torch.bool)
    known = valid[:, :, None].repeat(1, 1, 2, 1, 1)
    known[:, 1:4, 0, :3] = False  # one band keeps dates of forty days away alone
    with torch.inference_mode():
        found = composed(network, images, known, valid)
    assert (found - 0.7).abs().max() <= 1e-6


def test_composites_and_gradients_are_finite_where_nothing_is_valid():
    network = lively_blend(torch.float32)
    images, valid = series(batch=2, channels=2).float().requires_grad_(), holes(batch=2)
    valid[0], valid[1, :, 0] = False, False
    features = series(batch=2, channels=8).float().requires_grad_()
    found = composed(network, images, per_band(valid), valid, features)
    found.square().mean().backward()
    assert torch.isfinite(found).all()
    assert (found[0] == 0).all()
    assert torch.isfinite(images.grad).all()
    assert torch.isfinite(features.grad).all()
    grads = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert {"mix", "gate.weight", "fusion.log_reach"} <= set(grads)
    assert all(torch.isfinite(grad).all() for grad in grads.values())


def test_a_blend_adds_a_mix_and_a_gate_alone():
    plain, network = (TemporalLIIF(**SMALL, blend=on) for on in (False, True))
    assert count(network) - count(plain) == 2 * 2 + 2 * (8 + 1)
    left = network.load_state_dict(plain.state_dict(), strict=False)
    assert set(left.missing_keys) == {"mix", "gate.weight", "gate.bias"}


# --- the fusion --------------------------------------------------------------------------------------


def test_before_training_the_fusion_is_the_kernel_weighted_mean():
    network = TemporalLIIF(**SMALL).double()
    features, valid = series(batch=2, channels=8), holes(batch=2)
    with torch.inference_mode():
        fused, weights, _ = network.merge(features, DAYS, DOY, valid, TAU, TAU_DOY)
        wanted, _ = composite(features, DAYS, valid[:, :, None], TAU)
        code, same = network.fuse(features, DAYS, DOY, valid, TAU, TAU_DOY)
        assert torch.equal(code, network.imnet.fold(fused))
    assert (fused - wanted).abs().max() <= 1e-15
    assert (weights - kernel_weights(DAYS, valid, TAU)).abs().max() <= 1e-15
    assert torch.equal(weights, same)


def slow_fusion(fusion, features, days, doy, seen, tau, tau_doy):
    """Attention over the dates of one pixel, features (T, F), written out head by head."""
    features, days, doy = features[seen], days[seen], doy[seen]
    weights = torch.exp(-(days - tau).abs() / 30)
    mean = (weights / weights.sum()) @ features
    steps = [4 * (1461 / 4) ** (i / (fusion.periods - 1)) for i in range(fusion.periods)]
    periods = torch.tensor(steps, dtype=torch.float64)

    def code(delta, season):
        angle, year = 2 * math.pi * delta / periods, 2 * math.pi * season / 365.25
        return torch.cat((angle.sin(), angle.cos(), torch.tensor([math.sin(year), math.cos(year)], dtype=days.dtype)))

    query = fusion.query(torch.cat((mean, code(0.0, tau_doy))))
    size = len(query) // fusion.heads
    out = []
    for head in range(fusion.heads):
        part = slice(head * size, (head + 1) * size)
        logits, values = [], []
        for feature, day, season in zip(features, days, doy, strict=True):
            key = fusion.key(torch.cat((feature, code(float(day - tau), float(season)))))
            reach = math.exp(fusion.log_reach[head])
            logits.append(query[part] @ key[part] / math.sqrt(size) - abs(float(day) - tau) / reach)
            values.append(fusion.value(feature)[part])
        out.append(torch.stack(logits).softmax(0) @ torch.stack(values))
    return mean + fusion.output(torch.cat(out))


def test_fusion_equals_attention_written_out():
    fusion = lively(DateFusion(8, heads=2, periods=3))
    features, valid = series(channels=8, size=3), holes(size=3)
    with torch.inference_mode():
        found, _, _ = fusion(features, DAYS, DOY, valid, TAU, TAU_DOY)
        for y, x in itertools.product(range(3), range(3)):
            wanted = slow_fusion(fusion, features[0, :, :, y, x], DAYS, DOY, valid[0, :, y, x], TAU, TAU_DOY)
            assert (found[0, :, y, x] - wanted).abs().max() <= 1e-12


def test_published_reach_and_time_code():
    fusion = DateFusion()
    reach = fusion.log_reach.exp()
    assert reach[0].item() == pytest.approx(5)
    assert reach[-1].item() == pytest.approx(120)
    code = time_code(torch.tensor([1.0], dtype=torch.float64), torch.tensor([365.25 / 4], dtype=torch.float64))
    assert code.shape == (1, 34)
    assert code[0, 0].item() == pytest.approx(math.sin(2 * math.pi / 4))
    assert code[0, 31].item() == pytest.approx(math.cos(2 * math.pi / 1461))
    assert code[0, 32:].tolist() == pytest.approx([1.0, 0.0])


def test_code_equals_the_unfolded_first_layer():
    network = lively(TemporalLIIF(**SMALL))
    features, valid = series(channels=8), holes()
    with torch.inference_mode():
        fused, _, _ = network.merge(features, DAYS, DOY, valid, TAU, TAU_DOY)
        code, _ = network.fuse(features, DAYS, DOY, valid, TAU, TAU_DOY)
        unfolded = torch.nn.functional.unfold(fused, 3, padding=1).unflatten(2, fused.shape[2:])
        first = network.imnet.layers[0]
        wanted = torch.einsum("of,nfyx->noyx", first.weight[:, :-4], unfolded) + first.bias[:, None, None]
    assert (code - wanted).abs().max() <= 1e-12


# --- invariances -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_order_of_the_dates_does_not_matter(dtype):
    network = lively(TemporalLIIF(**SMALL)).to(dtype)
    x, valid, order = series().to(dtype), holes(), [3, 0, 4, 1, 2]
    here = ask(network, x, valid)
    there = ask(network, x[:, order], valid[:, order], DAYS[order], DOY[order])
    assert ulps(there, here) <= ROUNDING_ULPS
    assert here.std() > 0.1


def test_what_lies_under_a_mask_changes_nothing():
    network = lively(TemporalLIIF(**SMALL))
    x, valid = series(), holes()
    valid[:, 3] = False
    other = torch.where(valid[:, :, None], x, 1e3)
    lost = torch.where(valid[:, :, None], x, float("nan"))
    assert torch.equal(ask(network, x, valid), ask(network, other, valid))
    assert torch.equal(ask(network, x, valid), ask(network, lost, valid))


def test_features_of_masked_dates_change_nothing():
    network = lively(TemporalLIIF(**SMALL))
    features, valid = series(channels=8), holes()
    other = torch.where(valid[:, :, None], features, 1e3)
    with torch.inference_mode():
        here, there = (network.fuse(f, DAYS, DOY, valid, TAU, TAU_DOY)[0] for f in (features, other))
    assert torch.equal(here, there)


def test_a_masked_date_is_an_absent_date():
    network = lively(TemporalLIIF(**SMALL))
    x, valid = series(), holes()
    valid[:, 2] = False
    keep = [0, 1, 3, 4]
    here, there = ask(network, x, valid), ask(network, x[:, keep], valid[:, keep], DAYS[keep], DOY[keep])
    assert (here - there).abs().max() <= 1e-12


def test_shifting_all_times_changes_nothing():
    network = lively(TemporalLIIF(**SMALL))
    x, valid = series(), holes()
    assert torch.equal(ask(network, x, valid), ask(network, x, valid, DAYS + 730.5, tau=TAU + 730.5))


@pytest.mark.parametrize("change", ["tau", "season", "days"])
def test_time_and_season_matter(change):
    network = lively(TemporalLIIF(**SMALL))
    x, valid = series(), holes()
    other = {"tau": {"tau": TAU + 9}, "season": {"tau_doy": TAU_DOY + 90}, "days": {"days": DAYS * 1.5}}[change]
    assert (ask(network, x, valid) - ask(network, x, valid, **other)).abs().max() > 1e-3


@pytest.mark.parametrize("away", [1e2, 1e5])
def test_no_valid_date_and_far_dates_are_finite_in_values_and_gradients(away):
    network = lively(TemporalLIIF(**SMALL)).float()
    x, valid = series(batch=2).float().requires_grad_(), holes(batch=2)
    valid[0] = False
    found = network(x, DAYS + away, DOY, valid, TAU, TAU_DOY, *queries(), CELL)
    found.square().mean().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    assert (x.grad[0] == 0).all()


def test_times_and_queries_of_each_series():
    network = lively(TemporalLIIF(**SMALL))
    x, valid = series(batch=2), holes(batch=2)
    days, doy = torch.stack((DAYS, DAYS + 5)), torch.stack((DOY, DOY + 60))
    tau, tau_doy = torch.tensor([TAU, -3.0]), torch.tensor([TAU_DOY, 7.0])
    both = ask(network, x, valid, days, doy, tau, tau_doy)
    for i in range(2):
        alone = ask(network, x[[i]], valid[[i]], days[i], doy[i], float(tau[i]), float(tau_doy[i]))
        assert (both[[i]] - alone).abs().max() <= 1e-12


@pytest.mark.parametrize(("away", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (2.0, 1.0)])
def test_within_a_day_of_a_valid_date_less_of_the_others_is_blended_in(away, share):
    """The attention is handed over, so that all that changes with the query time is how far the nearest date is."""
    network = lively(TemporalLIIF(**SMALL, mean="equal", blend=True))
    x, fused = series(channels=2), image(8, 6, 6)
    valid = torch.ones_like(x, dtype=torch.bool)
    attention = torch.rand(1, 5, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        found, far = (network.compose(x, valid, DAYS, DAYS[2] + d, fused, attention) for d in (away, 5.0))
    blended = far - x.mean(1)
    assert blended.abs().max() > 0.01
    assert (found - x.mean(1) - share * blended).abs().max() <= 1e-12


def test_a_cloud_on_the_date_itself_lets_the_others_in():
    network = lively(TemporalLIIF(**SMALL, mean="equal", blend=True))
    x, fused = series(channels=2), image(8, 6, 6)
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[:, 2, :, :, :3] = False
    attention = torch.rand(1, 5, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        found = network.compose(x, valid, DAYS, DAYS[2], fused, attention)
    mean = np.nanmean(np.where(valid, x, np.nan), axis=1)
    assert (found - torch.from_numpy(mean))[..., 3:].abs().max() <= 1e-12
    assert (found - torch.from_numpy(mean))[..., :3].abs().max() > 0.01


def test_radiometric_map_starts_as_the_identity():
    plain, network = (TemporalLIIF(**SMALL, radiometry=reach).double() for reach in (0, 3))
    assert count(network) - count(plain) == 2 * (4 * 5 * 5 + 2 + 1)
    composite, spread = image(2, 6, 7), image(2, 6, 7, seed=2)
    assert torch.equal(network.radiometry(composite, spread), composite)


def test_radiometric_map_written_out():
    radiometry = with_random_weights(Radiometry(2, reach=3).double())
    composite, spread = image(2, 9, 8), image(2, 9, 8, seed=2)
    with torch.no_grad():
        found = radiometry(composite, spread)[0].numpy()
    kernel, bias, around = (t.detach().numpy() for t in (*radiometry.kernel.parameters(), radiometry.around.weight))
    both = np.concatenate([composite[0].numpy(), spread[0].numpy()])
    padded = np.pad(both, ((0, 0), (2, 2), (2, 2)), mode="edge")
    for y, x in ((0, 0), (4, 3), (8, 7)):
        mixed = (kernel * padded[:, y : y + 5, x : x + 5]).sum((1, 2, 3))
        near = composite[0, :, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].numpy().mean((1, 2))
        np.testing.assert_allclose(found[:, y, x], mixed + bias + around[:, :, 0, 0] @ near, atol=1e-12)


def test_the_radiometric_map_sees_the_spread_of_the_valid_dates():
    network = TemporalLIIF(**SMALL, mean="equal", radiometry=1).double()
    with torch.no_grad():
        network.radiometry.kernel.weight.zero_()
        network.radiometry.kernel.weight[[0, 1], [2, 3], 2, 2] = 1.0
    x, valid = series(channels=2), holes()[:, :, None].expand(-1, -1, 2, -1, -1)
    nothing = torch.zeros(1, 8, 6, 6), torch.zeros(1, 5, 2, 6, 6)
    with torch.no_grad():
        found = network.compose(x, valid, DAYS, TAU, *nothing)
    wanted = np.nanstd(np.where(valid, x, np.nan), axis=1)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1.1e-6)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 12))
def test_surroundings_are_the_mean_of_what_is_inside(height, width, reach):
    x = image(1, height, width)[0, 0]
    found = surroundings(x[None, None], reach)[0, 0]
    for row in (0, height // 2, height - 1):
        near = x[max(row - reach, 0) : row + reach + 1, max(width - 1 - reach, 0) :]
        assert float(found[row, -1]) == pytest.approx(float(near.mean()), abs=1e-12)


def test_equal_weights_are_those_of_the_mean_of_what_is_valid():
    valid = holes()
    valid[:, :, 0, 0] = False
    found = equal_weights(valid)
    assert (found.sum(1) - valid.any(1).double()).abs().max() <= 1e-15
    weights = valid[0, :, 2, 3].double()
    assert torch.equal(found[0, :, 2, 3], weights / weights.sum())
    network = TemporalLIIF(**SMALL, mean="equal")
    assert torch.equal(network.fusion.weights(DAYS, valid, TAU), found)
    with pytest.raises(ParameterError, match="mean='median'; expected one of kernel, linear, equal"):
        TemporalLIIF(**SMALL, mean="median")


# --- the receptive field -----------------------------------------------------------------------------


def measured(network, evaluate, middle):
    """First and last row and column of the input that a query left, and right, of a centre depends on."""
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.abs_().clamp_(min=1e-3)
    reach = []
    for at in (middle - 0.4, middle + 0.4):
        x = torch.ones(1, 3, 3, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64, requires_grad=True)
        position = torch.tensor([at], dtype=torch.float64)
        evaluate(x, position).sum().backward()
        hit = x.grad[0].abs().sum((0, 1)) > 0
        rows, cols = (torch.nonzero(hit.any(dim=axis)).flatten() for axis in (1, 0))
        assert torch.equal(rows, cols)
        reach.append((int(rows.min()) - middle, int(rows.max()) - middle))
    return reach


@pytest.mark.parametrize("blocks", [1, 2])
def test_declared_radius_is_the_measured_support(blocks):
    network = TemporalLIIF(**{**SMALL, "blocks": blocks}).double()
    middle = network.radius + 2
    valid = torch.ones(1, 3, 2 * middle + 1, 2 * middle + 1, dtype=torch.bool)

    def evaluate(x, at):
        return network(x, DAYS[:3], DOY[:3], valid, TAU, TAU_DOY, at, at, (0.5, 0.5))

    radius = network.radius
    assert radius == 2 * blocks + 4
    assert measured(network, evaluate, middle) == [(-radius, radius - 1), (1 - radius, radius)]


def test_declared_radius_is_the_measured_support_in_three_dimensions():
    network = TemporalLIIF3D(**SMALL_3D).double()
    radius = network.radius

    def evaluate(x, at):
        return network(x, torch.ones(1).double(), at, at, (3.0, 0.5, 0.5))

    assert radius == 6
    assert measured(network, evaluate, radius + 2) == [(-radius, radius - 1), (1 - radius, radius)]


@pytest.mark.parametrize("kind", ["dates", "index"])
def test_tiles_are_exact_with_the_declared_margin_and_not_with_one_pixel_less(kind):
    network = lively(TemporalLIIF(**SMALL) if kind == "dates" else TemporalLIIF3D(**SMALL_3D))
    margin, block, start = network.radius, 3, network.radius + 4
    size = 2 * start + block
    x, valid = series(size=size, dates=3), holes(size=size, dates=3)
    steps = torch.arange(0, block, 0.25, dtype=torch.float64) - 0.375
    rows, cols = (v.flatten() for v in torch.meshgrid(steps, steps, indexing="ij"))

    def evaluate(x, valid, shift):
        with torch.inference_mode():
            if kind == "dates":
                at = rows + shift, cols + shift
                return network(x, DAYS[:3], DOY[:3], valid, TAU, TAU_DOY, *at, (0.25, 0.25))
            return network(x, torch.full_like(rows, 0.7), rows + shift, cols + shift, (3.0, 0.25, 0.25))

    whole = evaluate(x, valid, start)
    for used in (margin, margin - 1):
        tile = slice(start - used, start + block + used)
        found = evaluate(x[..., tile, tile], valid[..., tile, tile], used)
        assert ulps(found, whole) <= ROUNDING_ULPS if used == margin else ulps(found, whole) > 1e10


@pytest.mark.parametrize("reach", [1, 7])
def test_a_composite_with_a_radiometric_map_is_exact_in_tiles_with_the_declared_margin(reach):
    """An enlargement reads the composite two pixels away from the query's pixel."""
    network = lively(TemporalLIIF(**SMALL, mean="equal", blend=True, radiometry=reach))
    margin = network.radius - 2
    middle = margin + 3
    x, valid = (make(size=2 * middle + 1, dates=3) for make in (series, holes))

    def evaluate(used):
        tile = slice(middle - used, middle + 1 + used)
        dates, known = x[..., tile, tile], valid[..., tile, tile]
        with torch.inference_mode():
            features = network.encode(dates[0])[None]
            fused, _, attention = network.merge(features, DAYS[:3], DOY[:3], known, TAU, TAU_DOY)
            pair = known[:, :, None].expand(-1, -1, 2, -1, -1)
            return network.compose(dates[:, :, :2], pair, DAYS[:3], TAU, fused, attention)[0, :, used, used]

    assert network.radius == 4 + 2 + max(reach, 2)
    assert (evaluate(margin) - evaluate(middle)).abs().max() <= 1e-12
    assert (evaluate(margin - 1) - evaluate(middle)).abs().max() > 1e-9


# --- three dimensions --------------------------------------------------------------------------------


def reference_query_3d(network, features, place, cell):
    """Eight cells around the query, volumes to the opposite corner; features (F, T, H, W) unfolded in space."""
    padded = torch.nn.functional.pad(features, (1, 1, 1, 1))
    shape, total = features.shape[1:], 0.0
    for step in itertools.product((0, 1), repeat=3):
        corner = [math.floor(p) + s for p, s in zip(place, step, strict=True)]
        volume = math.prod(1 - abs(p - c) for p, c in zip(place, corner, strict=True))
        t, y, x = (min(max(c, 0), size - 1) for c, size in zip(corner, shape, strict=True))
        relative = [2 * (p - c) for p, c in zip(place, (t, y, x), strict=True)]
        entry = torch.tensor([*relative, *(2 * c for c in cell)], dtype=torch.float64)
        total = total + volume * network.imnet(torch.cat((padded[:, t, y : y + 3, x : x + 3].flatten(), entry)))
    return total


@pytest.mark.parametrize("dates", [1, 4, 5])
def test_three_dimensions_equal_the_reference_formulation(dates):
    network = lively(TemporalLIIF3D(**SMALL_3D))
    x = series(dates, batch=2, size=4)
    generator = torch.Generator().manual_seed(6)
    times = torch.rand(8, dtype=torch.float64, generator=generator) * dates - 0.5
    rows, cols = torch.rand(2, 8, dtype=torch.float64, generator=generator) * 4 - 0.5
    cell = (dates / 2, 0.4, 0.3)
    with torch.inference_mode():
        found = network(x, times, rows, cols, cell)
        for i in range(2):
            features = network.encoder(x[[i]].transpose(1, 2))[0]
            places = zip(times.tolist(), rows.tolist(), cols.tolist(), strict=True)
            wanted = torch.stack([reference_query_3d(network, features, place, cell) for place in places])
            assert (found[i] - wanted).abs().max() <= 1e-10
