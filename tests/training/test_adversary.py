"""A network against a discriminator: whose gradient it gets, and that a run is the same however often it is cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training.test_fixed import TINY as FIXED
from training.test_fixed import sampler

from xsr.core.errors import ParameterError
from xsr.models import adversarial
from xsr.models.card import read_card
from xsr.training import loop, recipes
from xsr.training.adversary import Opponent, judged
from xsr.training.build import build
from xsr.training.fixed import UNJUDGED, Images, fixed_images, fixed_loss
from xsr.training.loop import train
from xsr.training.recipe import Adversary
from xsr.training.run import candidate, run_recipe
from xsr.training.tasks import Training, begin

FOE = Adversary(features=2, after=1, every=2)
TINY = replace(FIXED, adversary=FOE, steps=4)


def make_task(recipe=TINY):
    torch.manual_seed(recipe.seed)
    network = begin(recipe.architecture, recipe.config)
    loss = fixed_loss if recipe.adversary is None else Opponent(recipe.adversary, 10)
    return Training(network, sampler(patch=20), loss, memory_format=torch.contiguous_format)


def same(one, two):
    mine, other = one.state_dict(), two.state_dict()
    return list(mine) == list(other) and all(torch.equal(mine[k], other[k]) for k in mine)


def test_both_images_are_the_interpolation_where_the_truth_is_unknown():
    edge = 2 * UNJUDGED
    base = torch.zeros(1, 2, 24, 24)
    target = torch.full_like(base, torch.nan)
    target[:, 0, :, :12] = 3.0
    real, fake = judged(Images(base[..., ::2, ::2], base, base + 1, target), 2)
    assert real.shape == fake.shape == (1, 2, 24 - 2 * edge, 24 - 2 * edge)
    known = 12 - edge
    assert (real[:, 0, :, :known] == 3).all()
    assert (fake[:, 0, :, :known] == 1).all()
    assert not real[:, 0, :, known:].any()
    assert not fake[:, 0, :, known:].any()
    assert not real[:, 1].any()
    assert not fake[:, 1].any()


def test_the_gradient_of_the_adversarial_loss_comes_from_the_discriminator():
    torch.manual_seed(0)
    opponent = Opponent(FOE, 10)
    opponent.discriminator.eval()  # no power iteration between the two
    real, fake = torch.randn(2, 2, 10, 24, 24)
    fake.requires_grad_(True)
    opponent.deceive(real, fake).backward()
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None for p in opponent.discriminator.parameters())
    mine = fake.grad.clone()
    fake.grad = None
    opponent.discriminator.conv9.weight.data.neg_()
    opponent.discriminator.conv9.bias.data.neg_()
    opponent.deceive(real, fake).backward()
    assert (mine * fake.grad).sum() < 0  # a discriminator of the other opinion draws the other way


def test_the_loss_is_that_of_the_task_plus_the_weighted_one_after_the_warm_up():
    task = make_task()
    opponent, batch = task.loss, task.sampler(0)
    plain, base = fixed_loss(task.network, batch, TINY, drop=(), device="cpu")
    first, other = opponent(task.network, batch, TINY, drop=(), device="cpu")
    assert float(first.detach()) == pytest.approx(float(plain.detach()))
    assert float(other.detach()) == pytest.approx(float(base.detach()))
    opponent.settings = replace(FOE, weight=0.5)
    second, _ = opponent(task.network, batch, TINY, drop=(), device="cpu")
    opponent.discriminator.eval()
    images = fixed_images(task.network, batch, TINY, drop=(), device="cpu")
    real, fake = judged(images, 2)
    wanted = adversarial.generator_loss(opponent.score(real), opponent.score(fake))
    assert float(second.detach() - plain.detach()) == pytest.approx(0.5 * float(wanted.detach()), rel=0.05)


def test_the_discriminator_learns_to_tell_noise_from_nothing():
    torch.manual_seed(0)
    opponent = Opponent(replace(FOE, learning_rate=1e-2), 3)
    rng = np.random.default_rng(0)
    real = torch.from_numpy(rng.normal(size=(2, 3, 24, 24)).astype(np.float32))
    losses = [float(opponent.teach(real, torch.zeros_like(real))) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert opponent.step == 40


def test_an_adversary_changes_the_weights_once_its_warm_up_is_over():
    runs = [train(one, make_task(one))[0] for one in (TINY, replace(TINY, adversary=None))]
    assert not same(*runs)
    late = replace(TINY, adversary=replace(FOE, after=4))
    assert same(train(late, make_task(late))[0], runs[1])


def test_same_seed_same_weights_and_a_run_that_was_killed_ends_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REMEMBER", 2)
    whole, _, _ = train(TINY, make_task())
    assert same(train(TINY, make_task())[0], whole)
    path = tmp_path / "run.checkpoint"

    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, make_task(), checkpoint=path, report=stop)
    kept = torch.load(path, weights_only=True)
    assert kept["step"] == kept["opponent"]["step"] == 2
    assert kept["opponent"]["optimiser"]["state"]
    steps = []
    task = make_task(replace(TINY, seed=9))  # whatever it starts as, the checkpoint replaces it
    again, _, _ = train(TINY, task, checkpoint=path, report=lambda p: steps.append(p.step))
    assert steps == [3, 4]
    assert same(again, whole)


def test_candidates_are_kept_every_so_many_steps():
    kept = []
    train(TINY, make_task(), keep=lambda step, network: kept.append((step, network)))
    assert [step for step, _ in kept] == [2]  # the last is the result
    kept.clear()
    plain = replace(TINY, adversary=None)
    train(plain, make_task(plain), keep=lambda step, network: kept.append(step))
    assert not kept


def test_a_run_writes_its_candidates_with_cards(tmp_path):
    card = run_recipe(TINY, tmp_path / "tiny.safetensors", scenes=None)
    early = read_card(candidate(tmp_path / "tiny.safetensors", 2))
    assert early.name == "tiny_step2"
    assert (early.training["steps"], card.training["steps"]) == (2, 4)
    assert early.sha256 != card.sha256
    assert card.training["recipe"]["adversary"]["features"] == 2
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"tiny{part}.{kind}" for part in ("", "_step2") for kind in ("safetensors", "json")}


def test_recipes_and_what_cannot_have_an_adversary():
    recipe, other = recipes.get("carn_3x3x64g4sw_gan_s2"), recipes.get("carn_3x3x64g4sw_gan_nohp_s2")
    assert recipe.start == "carn_3x3x64g4sw_s2"
    assert replace(other, name=recipe.name, adversary=recipe.adversary) == recipe
    assert (recipe.adversary.high_pass, other.adversary.high_pass) == (0.4, None)
    assert recipe.record()["adversary"]["weight"] == 0.01
    assert "adversary" not in recipes.CARN_S2.record()
    with pytest.raises(ParameterError, match="has an adversary and the task 'continuous'; expected the task 'fixed'"):
        build(replace(recipes.LIIF_S2, adversary=FOE), None)
