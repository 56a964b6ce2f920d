"""symmetrize() with all rotations of the plane: the average over the frame of each image."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import gequi
from gequi.errors import InputError, ShapeError
from gequi.symmetry.frames import main_directions

SO2, O2 = gequi.gspace("rot2dOnR2", N=-1), gequi.gspace("flipRot2dOnR2", N=-1)
TILTED = gequi.gspace("flipRot2dOnR2", N=-1, axis=0.3)
SIZE = 25


def blobs(angle=0.0, count=2):
    """Smooth images (count, 1, row, column) of three Gaussian spots, drawn as they are turned counter-clockwise."""
    y, x = np.mgrid[(SIZE - 1) / 2 : -SIZE / 2 : -1, :SIZE]
    x = x - (SIZE - 1) / 2
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    images = []
    for number in range(count):
        spots = [(1, -4 + number, 1), (0.7, 3, -2), (-0.5, 2, 3 + number)]
        images.append(sum(a * np.exp(-((along - u) ** 2 + (across - v) ** 2) / 8) for a, u, v in spots))
    return np.stack(images)[:, None]


SQUARE = sum(np.rot90(blobs(count=1), k, (2, 3)) for k in range(4))  # the symmetry of a square


def plain(channels, pool, dtype=torch.float64):
    torch.manual_seed(1)
    head = (
        [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, channels)]
        if pool
        else [nn.Conv2d(4, channels, 3, padding=1)]
    )
    return nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.Tanh(), *head).to(dtype)


def rows(model, x, exact, *fields):
    """The errors of the elements that map the grid onto itself, or of some of the others."""
    space = fields[0] if fields else model.space
    wanted = [row["element"] for row in gequi.group_elements(space) if row["exact"] == exact]
    return gequi.equivariance_error(model, x, *fields, elements=wanted if exact else wanted[::16])


@pytest.mark.parametrize("pool", [True, False], ids=["vectors", "images"])
@pytest.mark.parametrize(
    ("space", "output"),
    [(SO2, {"trivial": 3}), (SO2, {"irrep_1": 1, "irrep_2": 1}), (O2, {"trivial": 3}), (O2, {"irrep_1,1": 2}),
     (TILTED, {"irrep_1,1": 1, "irrep_1,0": 1})],
)  # fmt: skip
def test_quarter_turns_and_reflections_are_exact(space, output, pool, dtype, exactness):
    model, x = plain(gequi.field_type(space, output).size, pool, getattr(torch, dtype)), blobs()
    fields = space, "trivial", output
    made = gequi.symmetrize(model, *fields)
    found = rows(made, x, True)
    assert len(found) >= 4
    assert max(row["error"] for row in found) <= exactness
    assert max(row["error"] for row in rows(model, x, True, *fields)) > 0.1  # the model itself


def test_fields_of_the_input_turn_with_the_frame(random):
    x = np.concatenate([blobs(), np.gradient(blobs(), axis=3), -np.gradient(blobs(), axis=2)], 1)
    torch.manual_seed(1)
    model = nn.Conv2d(3, 3, 5, padding=2).double()
    fields = {"trivial": 1, "irrep_1": 1}
    made = gequi.symmetrize(nn.Sequential(model, nn.Tanh()), SO2, fields, fields)
    assert max(row["error"] for row in rows(made, x, True)) <= 1e-12


@pytest.mark.parametrize("angle", [0.2, 0.7, 1.3, 2.9])
def test_other_angles_are_as_good_as_interpolation_allows(angle):
    """Images that are drawn at the angle: the model sees them through a spline, and nothing else differs."""
    model = plain(5, True)
    made = gequi.symmetrize(model, SO2, "trivial", {"trivial": 5})
    upright, turned = blobs(), blobs(angle)
    scale = np.abs(gequi.predict(made, upright)).max()
    assert np.abs(gequi.predict(made, turned) - gequi.predict(made, upright)).max() <= 0.01 * scale
    assert np.abs(gequi.predict(model, turned) - gequi.predict(model, upright)).max() >= 0.05 * scale


def test_the_error_of_equivariance_error_is_below_the_floor_of_interpolation():
    made = gequi.symmetrize(plain(2, False), O2, "trivial", {"trivial": 2})
    others = rows(made, blobs(), False)
    assert len(others) > 4
    assert max(row["rms"] / row["floor"] for row in others) <= 1
    bare = rows(plain(2, False), blobs(), False, O2, "trivial", {"trivial": 2})
    assert max(row["rms"] / row["floor"] for row in bare) > 3


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.9, 1.5, 2.4])
def test_the_main_direction_turns_with_the_image(angle):
    before, after = (main_directions(torch.tensor(blobs(each))).numpy() for each in (0, angle))
    difference = (after - before - angle + np.pi / 2) % np.pi - np.pi / 2
    assert np.abs(difference).max() <= np.deg2rad(1)


def test_stripes_have_the_direction_of_their_gradient():
    x = np.broadcast_to(np.sin(np.arange(SIZE) / 2), (1, 1, SIZE, SIZE))
    columns = main_directions(torch.tensor(x.copy()))
    rows = main_directions(torch.tensor(x.swapaxes(2, 3).copy()))
    assert abs(math.sin(columns[0])) < 1e-9
    assert abs(math.cos(rows[0])) < 1e-9


def test_the_average_is_over_two_opposite_poses_and_their_mirror_images():
    x = blobs()
    made = gequi.symmetrize(plain(3, True), O2, "trivial", {"trivial": 3})
    seen = []
    made.model.register_forward_hook(lambda module, given, output: seen.append((given[0].numpy(), output.numpy())))
    value = gequi.predict(made, x)
    poses, outputs = (each.reshape(4, len(x), *each.shape[1:]) for each in seen[-1])
    np.testing.assert_allclose(value, outputs.mean(0), atol=1e-12)
    np.testing.assert_allclose(poses[1], poses[0][..., ::-1, ::-1], atol=1e-9)
    mirrored = {tuple(np.round(pose[0, 0, 5, 3:8], 6)) for pose in (poses[2], poses[3])}
    flips = (poses[0][..., ::-1, :], poses[0][..., ::-1])
    assert mirrored == {tuple(np.round(pose[0, 0, 5, 3:8], 6)) for pose in flips}


def test_a_module_is_trained_through_the_average():
    module = plain(2, True, torch.float32)
    made = gequi.symmetrize(module, SO2, "trivial", {"trivial": 2})
    before = module[0].weight.detach().clone()
    gequi.fit(made, blobs().astype(np.float32), np.array([0, 1]), epochs=1, seed=1)
    assert not torch.equal(module[0].weight, before)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((1, 1, 9, 9)), InputError, "`x`: image 0 has no main direction"),
        (
            np.concatenate([blobs(count=1), SQUARE]),
            InputError,
            "`x`: image 1 has no main",
        ),
        (np.ones((1, 1, 9, 8)), ShapeError, "`x` must have the axes .batch, channel, row, column. and be square"),
    ],
)
def test_images_without_a_frame_are_refused(x, error, message):
    made = gequi.symmetrize(plain(1, True), SO2, "trivial", "trivial")
    with pytest.raises(error, match=message):
        gequi.predict(made, x)


@pytest.mark.parametrize("space", [gequi.gspace("rot3dOnR3"), gequi.gspace("no_base_space", group="so2_group")])
def test_other_continuous_groups_are_refused(space):
    with pytest.raises(InputError, match="`space` must have a finite group"):
        gequi.symmetrize(np.square, space, "trivial", "trivial")
