"""Architectures: parameter counts and shapes, plain and equivariant, and the errors in the code of the source."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import gequi
from gequi.architectures import identity_resnet, image_classifier_mlp, unet
from gequi.errors import InputError, ShapeError
from gequi.networks import EquivariantNetwork, get_weights, predict

C4 = gequi.gspace("rot2dOnR2", N=4)
D4 = gequi.gspace("flipRot2dOnR2", N=4)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def small_resnet(**options) -> nn.Module:
    return identity_resnet(**{"components": 2, "widths": (8, 16, 32), "seed": 1, **options})


def small_unet(**options) -> nn.Module:
    return unet(**{"levels": 2, "width": 8, "seed": 1, **options})


# ---- counts and shapes ----------------------------------------------------------------------------------


def test_the_classifier_has_669706_parameters_and_gives_one_number_a_class(random):
    model = image_classifier_mlp(seed=1)
    assert count(model) == 669_706
    assert predict(model, random.normal(size=(3, 1, 28, 28))).shape == (3, 10)


def test_the_classifiers_probabilities_are_numbers_that_sum_to_1(random):  # the source returned a module Softmax(dim=x)
    images = random.normal(size=(3, 1, 28, 28))
    probabilities = predict(image_classifier_mlp(seed=1, output="probabilities"), images)
    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)
    logits = predict(image_classifier_mlp(seed=1), images)
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-5)
    assert logits.min() < 0


def test_the_residual_network_has_314698_parameters_and_31_convolutions(random):
    model = identity_resnet(seed=1)
    assert count(model) == 314_698
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 31
    connections = [module for module in model.modules() if type(module).__name__ == "Residual"]
    assert [connection.shortcut is not None for connection in connections] == [True, False, False] * 3
    logits = predict(model, random.normal(size=(3, 3, 32, 32)))
    assert logits.shape == (3, 10)
    assert predict(model, random.normal(size=(2, 3, 16, 20))).shape == (2, 10)


def test_the_residual_network_passes_through_the_sizes_of_the_figure(random):
    model, x = identity_resnet(seed=1).eval(), torch.randn(2, 3, 32, 32)
    shapes = []
    with torch.no_grad():
        for module in model:
            x = module(x)
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (16, 32, 32),
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (256, 8, 8),
        (256, 8, 8),
        (256, 1, 1),
        (256,),
        (10,),
    ]


def test_no_residual_component_shares_its_weights():  # the source repeated one module N times
    model = identity_resnet(seed=1)
    block = model.block_1
    connections = [module for module in block if type(module).__name__ == "Residual"]
    assert len(connections) == len({id(module) for module in connections}) == 3  # N = 3: one that widens and N - 1
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(pointers) == len(set(pointers))
    first, second = (connection.main[2].weight for connection in connections[1:])
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    by_components = [count(identity_resnet(components=n, seed=1)) for n in (1, 2, 3, 4)]
    assert len(set(np.diff(by_components))) == 1


def test_the_residual_networks_probabilities_sum_to_1_and_its_logits_need_not(random):
    images = random.normal(size=(3, 3, 32, 32))
    np.testing.assert_allclose(predict(identity_resnet(seed=1, output="probabilities"), images).sum(1), 1, atol=1e-6)
    assert np.abs(predict(identity_resnet(seed=1), images).sum(1) - 1).min() > 1e-3


def test_a_u_net_has_31030658_parameters():
    assert count(unet(seed=1)) == 31_030_658


def test_the_u_net_of_the_circuit_diagram_has_123664898_parameters_and_does_not_join_its_first_level():
    assert count(unet(seed=1, variant="circuit")) == 123_664_898
    ronneberger, circuit = small_unet(width=16), small_unet(width=16, variant="circuit")
    assert len(ronneberger.up) == 2
    assert len(circuit.up) == 1
    assert predict(circuit, np.zeros((1, 1, 16, 24))).shape == (1, 2, 16, 24)


@pytest.mark.parametrize("variant", ["ronneberger", "circuit"])
@pytest.mark.parametrize(("levels", "size"), [(1, (2, 6)), (2, (16, 24)), (4, (16, 64))])
def test_a_u_net_keeps_the_size_of_the_image(variant, levels, size):  # the source returned None
    model = unet(channels=3, classes=5, levels=levels, width=4, variant=variant, seed=1)
    assert predict(model, np.zeros((2, 3, *size))).shape == (2, 5, *size)


def test_a_u_net_halves_and_doubles_the_image_exactly():  # the source padded both ways by 1: 8 -> 5 -> 8
    model = small_unet()
    sizes = []
    for module in [model.shrink, *model.enlarge]:
        module.register_forward_hook(lambda module, given, made: sizes.append((given[0].shape[-1], made.shape[-1])))
    model(torch.zeros(1, 1, 16, 16))
    assert sizes == [(16, 8), (8, 4), (4, 8), (8, 16)]
    assert model.shrink(torch.arange(4.0).reshape(1, 1, 2, 2)).item() == 3  # the maximum of each window


def test_all_weights_of_a_u_net_are_registered_and_trained():  # the source kept modules in plain lists
    model = small_unet()
    model(torch.randn(1, 1, 16, 16)).square().sum().backward()
    names = [name for name, _ in model.named_parameters()]
    assert {name.split(".")[0] for name in names} == {"down", "bottom", "enlarge", "up", "out"}
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())
    for stage in (*model.down, model.bottom, *model.up):  # its second convolution goes on with the new width
        assert stage[2].in_channels == stage[2].out_channels == stage[0].out_channels
    assert model.out.kernel_size == (1, 1)


def test_each_level_of_a_u_net_joins_what_it_had_on_the_way_down():
    model = small_unet().eval()
    image = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    full = model(image)
    for level in range(2):  # without what was saved at a level, the output differs
        with torch.no_grad():
            twin = small_unet().eval()
            width = twin.up[1 - level][0].weight.shape[1] // 2
            twin.up[1 - level][0].weight[:, width:] = 0
        assert (twin(image) - full).abs().max() > 1e-4


def test_a_u_net_refuses_sizes_that_it_cannot_halve():
    with pytest.raises(ShapeError, match=r"rows and columns divisible by 2\^levels = 4; got \(16, 18\)"):
        predict(small_unet(), np.zeros((1, 1, 16, 18)))


# ---- weights --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [image_classifier_mlp, small_resnet, small_unet])
def test_the_seed_fixes_the_weights_in_both_types_and_leaves_torchs_generator_alone(make):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, same, double, other = (make(seed=1), make(seed=1), make(seed=1, dtype="float64"), make(seed=2))
    fresh = [get_weights(make(seed=None)) for _ in range(2)]
    assert torch.equal(torch.rand(2), expected)
    differs = False
    for name, weight in get_weights(first).items():
        np.testing.assert_array_equal(weight, get_weights(same)[name])
        np.testing.assert_array_equal(weight, get_weights(double)[name].astype(weight.dtype))
        differs = differs or not np.array_equal(weight, get_weights(other)[name])
    assert differs
    assert any(not np.array_equal(fresh[0][name], fresh[1][name]) for name in fresh[0])
    assert all(parameter.dtype == torch.float64 for parameter in double.parameters())


def test_initial_weights_have_torchs_distribution():
    ours, theirs = unet(levels=1, width=32, seed=1), nn.Conv2d(32, 32, 3)
    weight = ours.down[0][2].weight
    assert weight.abs().max().item() == pytest.approx(theirs.weight.abs().max().item(), rel=0.01)
    assert weight.std().item() == pytest.approx(theirs.weight.std().item(), rel=0.05)
    assert ours.down[0][2].bias.abs().max().item() <= 1 / np.sqrt(32 * 9)


# ---- equivariant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["ronneberger", "circuit"])
@pytest.mark.parametrize("space", [C4, D4], ids=["C4", "D4"])
def test_an_equivariant_u_net_turns_its_output_with_the_image(space, variant, dtype, exactness, random):
    model = small_unet(space=space, variant=variant, width=16)
    assert isinstance(model, EquivariantNetwork)
    image = random.normal(size=(1, 1, 16, 24))
    assert gequi.output_shape(model, image.shape) == predict(model, image).shape == (1, 2, 16, 24)
    table = gequi.equivariance_error(model, image, dtype=dtype)
    assert len(table) == space.fibergroup.order()
    assert max(row["error"] for row in table) <= exactness
    value = predict(model, image)
    assert np.abs(np.rot90(value, axes=(2, 3)) - value.swapaxes(2, 3)).max() > 1e-3  # it does depend on the image


def test_the_equivariant_u_net_of_the_default_size_is_equivariant(random):
    model = unet(space=C4, seed=1)
    assert max(row["error"] for row in gequi.equivariance_error(model, random.normal(size=(1, 1, 32, 32)))) <= 1e-5
    assert model.recipe["layers"][4]["layer"] == "skip"
    assert count(model) < 31_030_658 / 4


@pytest.mark.parametrize("space", [C4, D4], ids=["C4", "D4"])
def test_an_equivariant_residual_network_is_invariant_on_sizes_that_strides_keep_exact(space, dtype, exactness, random):
    model = small_resnet(space=space, widths=(8, 32, 64))
    table = gequi.equivariance_error(model, random.normal(size=(2, 3, 17, 17)), dtype=dtype)
    assert max(row["error"] for row in table) <= exactness
    assert predict(model, random.normal(size=(2, 3, 17, 17))).shape == (2, 10)


def test_a_size_that_breaks_exactness_is_named(random):
    model = small_resnet(space=C4, widths=(8, 32, 64))
    with pytest.warns(gequi.errors.ExactnessWarning, match="breaks exact equivariance on features of size"):
        predict(model, random.normal(size=(1, 3, 16, 16)))


@pytest.mark.parametrize("length", [8, 9])
def test_an_equivariant_classifier_is_invariant_and_looks_at_the_whole_image(length, dtype, exactness, random):
    model = image_classifier_mlp(
        (2, length, length), hidden=(16, 8), classes=3, space=C4, seed=1, output="probabilities"
    )
    images = random.normal(size=(2, 2, length, length))
    assert max(row["error"] for row in gequi.equivariance_error(model, images, dtype=dtype)) <= exactness
    assert model.recipe["layers"][0]["kernel_size"] == (7 if length == 8 else 9)
    assert [layer["layer"] for layer in model.recipe["layers"]] == [
        "conv", "relu", "conv", "relu", "global_avg_pool", "group_pool", "dense", "softmax"]  # fmt: skip
    probabilities = predict(model, images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-6)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        changed = images.copy()
        changed[..., corner[0], corner[1]] += 5
        changed[..., length // 2, corner[1]] += 5
        assert np.abs(predict(model, changed) - probabilities).max() > 1e-4


def test_recipes_have_one_field_of_the_regular_representation_for_each_element():
    recipe = small_unet(space=D4, width=16).recipe
    assert recipe["layers"][0]["fields"] == [("regular", 2)]
    assert recipe["layers"][-1]["fields"] == [("trivial", 2)]
    assert small_resnet(space=C4, widths=(8, 16)).recipe["layers"][3]["layer"] == "residual"


# ---- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image_classifier_mlp((28, 28)), r"`input_shape` must have 3 numbers; got \[28, 28\]"),
        (lambda: image_classifier_mlp(hidden=()), "`hidden` must have at least one number"),
        (lambda: image_classifier_mlp(hidden=(0,)), "`hidden` must be at least 1"),
        (lambda: image_classifier_mlp(classes=2.5), "`classes` must be a whole number"),
        (lambda: image_classifier_mlp(output="logit"), "`output` must be one of .* Did you mean 'logits'"),
        (lambda: image_classifier_mlp(space=3), "`space` must be a gspace"),
        (lambda: image_classifier_mlp((1, 8, 9), space=C4), "`input_shape` must be square .* got 8 x 9"),
        (lambda: image_classifier_mlp(hidden=(6,), space=C4), "`hidden` must give layers whose width .* one is 6 wide"),
        (lambda: identity_resnet(widths=(16, 6)), "`widths` of blocks must be divisible by 4, .* got 6"),
        (
            lambda: identity_resnet(widths=(16, 24), space=C4),
            "`widths` must give layers .* of the group, 4; one is 6 wide",
        ),
        (lambda: identity_resnet(components=0), "`components` must be at least 1"),
        (lambda: identity_resnet(seed=-1), "`seed` must be from 0"),
        (lambda: unet(variant="ronnberger"), "`variant` must be one of .* Did you mean 'ronneberger'"),
        (lambda: unet(levels=0), "`levels` must be at least 1"),
        (lambda: unet(width=6, space=C4), "`width` must give layers .* one is 6 wide"),
        (lambda: unet(dtype="half", levels=1, width=1), "`dtype` must be one of"),
        (lambda: unet(space=gequi.gspace("octaOnR3")), "`space` must be a gspace on the plane with a finite group"),
        (lambda: unet(space=gequi.gspace("rot2dOnR2", N=-1)), "`space` must be a gspace on the plane with a finite"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_number_alone_is_as_good_as_a_list_of_one():
    assert count(image_classifier_mlp((1, 2, 2), hidden=3, classes=2)) == 4 * 3 + 3 + 3 * 2 + 2
