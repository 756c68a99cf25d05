"""Encoders from nothing: the size and the work their papers count, and all of it learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from visavis.train.encoders import EncoderName, build

USUAL = {
    "tiny": 64,
    "mobilefacenet-half": 128,
    "mobilefacenet": 128,
    "iresnet18": 512,
    "iresnet34": 512,
    "iresnet50": 512,
}


META = torch.device("meta")  # shapes without numbers, so that nothing is computed


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def work(module: nn.Module, side: int) -> float:
    """Multiplications and additions a face; torch counts the two apart."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(1, 3, side, side, device=META))
    return counter.get_total_flops() / 2


def test_mobilefacenet_has_the_papers_size_and_work():
    """Chen et al. 2018, sec. 3.2: 0.99 million parameters, 221 million MAdds."""
    with META:
        module = build("mobilefacenet", 112)
    assert parameters(module) == pytest.approx(0.99e6, rel=0.02)
    assert work(module, 112) == pytest.approx(221e6, abs=0.5e6)


def test_mobilefacenet_has_the_papers_maps():
    """Table 1: the input of each stage, from 112 x 112 x 3 to 7 x 7 x 512."""
    shapes = []
    with META:
        module, x = build("mobilefacenet", 112).eval(), torch.zeros(1, 3, 112, 112)
        for layer in module.features:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    assert list(dict.fromkeys(shapes)) == [
        (64, 56, 56),
        (64, 28, 28),
        (128, 14, 14),
        (128, 7, 7),
        (512, 7, 7),
    ]
    assert module.pool(x).shape == (1, 512, 1, 1)


@pytest.mark.parametrize(("name", "millions"), [("iresnet18", 24.03), ("iresnet50", 43.59)])
def test_iresnet_has_as_many_parameters_as_arcfaces(name, millions):
    with META:
        module = build(name, 112)
    assert parameters(module) == pytest.approx(millions * 1e6, abs=0.01e6)


def test_the_lightest_is_light():
    with META:
        module = build("tiny", 64)
    assert parameters(module) < 60_000
    assert work(module, 64) < 3e6


@pytest.mark.parametrize("side", [112, 96, 64, 150])
@pytest.mark.parametrize("name", ["tiny", "mobilefacenet-half", "mobilefacenet", "iresnet18"])
def test_every_alignments_side_gives_a_vector_a_face(name, side):
    with META:
        assert build(name, side).eval()(torch.zeros(1, 3, side, side)).shape == (1, USUAL[name])
        assert build(name, side, 32)(torch.zeros(5, 3, side, side)).shape == (5, 32)


def test_each_encoder_has_its_usual_dimension():
    assert set(USUAL) == set(EncoderName)
    with META:
        for name in ("iresnet34", "iresnet50"):
            assert build(name, 112).eval()(torch.zeros(1, 3, 112, 112)).shape == (1, USUAL[name])


@pytest.mark.parametrize("name", ["tiny", "mobilefacenet-half", "iresnet18"])
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    module = build(name, 64).train()
    vectors = module(torch.randn(4, 3, 64, 64))
    (vectors * torch.randn_like(vectors)).sum().backward()
    still = [key for key, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@pytest.mark.parametrize("name", ["tiny", "mobilefacenet-half"])
def test_faces_do_not_see_each_other_in_evaluation(name):
    torch.manual_seed(0)
    module = build(name, 64).eval()
    faces = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        together, alone = module(faces), torch.cat([module(face[None]) for face in faces])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "mobilefacenet-half", "iresnet18"])
def test_signals_keep_their_size_on_the_way(name):
    """He's start: a fresh network neither blows its input up nor lets it die."""
    torch.manual_seed(0)
    module = build(name, 64).train()
    vectors = module(torch.randn(16, 3, 64, 64))
    assert vectors.std(dim=0).mean().item() == pytest.approx(1, abs=0.1)
    # The last batch norm alone would hide features that died before it.
    features = module.features(torch.randn(16, 3, 64, 64))
    assert 0.1 < features.std().item() < 10


def test_the_same_seed_gives_the_same_weights_and_another_gives_others():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build("tiny", 64).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_channels_last_gives_the_same_vectors():
    torch.manual_seed(0)
    module = build("mobilefacenet-half", 64).eval()
    turned = copy.deepcopy(module).to(memory_format=torch.channels_last)
    faces = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(
            module(faces), turned(faces.contiguous(memory_format=torch.channels_last)), atol=1e-4
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("mobilfacenet", 112, None), "mobilfacenet"),
        (("tiny", 16, None), "32 pixels or more, not 16"),
        (("tiny", 64, 0), "two numbers or more, not 0"),
    ],
)
def test_what_cannot_be_built_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        build(*wrong)
