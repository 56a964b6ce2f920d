"""Transform files, compared with those that SimpleITK and nibabel read and write."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK

from gequi import read_transform, warp_image, warp_points, write_transform
from gequi.errors import InputError, ShapeError, TransformFileError
from gequi.geometry.rotations import versor_rotation
from gequi.registration import Transform
from gequi.registration.transform_files.space import versor_of

SIZES = {2: (12, 15), 3: (8, 10, 12)}
MOVING_SIZES = {2: (14, 13), 3: (9, 11, 10)}
AFFINES = {
    2: np.array([[0.907, -0.213, 2.019], [0.251, 1.053, -1.507]]),
    3: np.array([[1.009, 0.103, 0.011, 0.509], [-0.107, 0.953, 0.211, 0.757], [0.053, -0.197, 0.907, -0.503]]),
}
AFFINES = {
    axes: affine + 1e-4 * np.sqrt(2 + np.indices(affine.shape).sum(0)) for axes, affine in AFFINES.items()
}  # no position halfway
ALL = ["tfm", "txt", "mat", "csv", "nii", "nii.gz", "mha", "niftyreg"]


def turn(axes, angle=0.5):
    """Direction cosines that are no permutation."""
    cosines, (cosine, sine) = np.eye(axes), (np.cos(angle), np.sin(angle))
    cosines[:2, :2] = [[cosine, -sine], [sine, cosine]]
    if axes == 3:
        cosines = cosines @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])[:, [1, 2, 0]]
    return cosines


def spaces(axes, oblique=True):
    """Origins and cosines of two images; without `oblique` cosines that a header of float32 holds exactly."""
    one, other = (turn(axes), turn(axes, -1.0)) if oblique else (np.eye(axes)[::-1], np.diag([-1.0, 1, -1][:axes]))
    return {
        "origin": [10.0, -20.5, 31.25][:axes], "cosines": one,
        "moving_origin": [-4.0, 8.0, 2.5][:axes], "moving_cosines": other.ravel().tolist(),
    }  # fmt: skip


@pytest.fixture
def registered(known):
    """registered(axes): a registration of images of two sizes, with pixels of several lengths."""

    def make(axes, bend=0.3):
        return known(
            SIZES[axes], MOVING_SIZES[axes], AFFINES[axes], bend,
            spacing=[3.0, 0.75, 1.5][:axes], moving_spacing=[2.0, 1.25, 0.5][:axes],
        )  # fmt: skip

    return make


def as_sitk(array, spacing, origin, cosines):
    """An image of SimpleITK with the space of ours."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetOrigin(list(origin))
    image.SetDirection(np.ravel(cosines).tolist())
    return image


def both_images(found, space):
    fixed = as_sitk(found.fixed, found.spacing, space["origin"], space["cosines"])
    moving = as_sitk(found.moving, found.moving_spacing, space["moving_origin"], space["moving_cosines"])
    return fixed, moving


def points_of(image, pixels):
    """SimpleITK's physical points of pixels (point, axis)."""
    return np.array(
        [image.TransformContinuousIndexToPhysicalPoint(pixel[::-1].tolist()) for pixel in np.atleast_2d(pixels)]
    )


def opened(path):
    """A file as SimpleITK opens it: a transform, or a field of displacements."""
    if str(path).endswith((".tfm", ".txt", ".mat")):
        return SimpleITK.ReadTransform(str(path))
    return SimpleITK.DisplacementFieldTransform(SimpleITK.ReadImage(str(path), SimpleITK.sitkVectorFloat64))


def carried(transform, points):
    return np.array([transform.TransformPoint(point.tolist()) for point in points])


def written(found, folder, kind, **options):
    """The file of a format."""
    ending = "nii.gz" if kind == "niftyreg" else kind
    options["format"] = "niftyreg" if kind == "niftyreg" else None
    return write_transform(found, folder / f"transform.{ending}", **options)


def within(size, random):
    """Pixels, and positions between them, within an image."""
    return np.concatenate([np.argwhere(np.ones(size)), random.uniform(0, np.array(size) - 1, size=(50, len(size)))])


# ---- what SimpleITK makes of a file ---------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["tfm", "txt", "mat", "nii", "nii.gz", "mha"])
@pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])
def test_simpleitk_carries_points_by_the_file_as_the_registration_does(
    registered, random, tmp_path, axes, kind, direction
):
    linear = kind in ("tfm", "txt", "mat")
    found, space = registered(axes, bend=0 if linear else 0.3), spaces(axes, oblique="nii" not in kind)
    path = written(found, tmp_path, kind, direction=direction, **space)
    images, maps, sizes = both_images(found, space), [found.map, found.inverse_map], [SIZES[axes], MOVING_SIZES[axes]]
    if direction == "fixed_to_moving":
        images, maps, sizes = images[::-1], maps[::-1], sizes[::-1]
    start, end = images
    pixels = within(sizes[0], random)
    expected = points_of(end, warp_points(pixels, maps[0]))
    np.testing.assert_allclose(carried(opened(path), points_of(start, pixels)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_an_oblique_nifti_is_as_exact_as_its_header(registered, random, tmp_path, axes):
    found, space = registered(axes), spaces(axes)
    path = written(found, tmp_path, "nii", **space)
    fixed, moving = both_images(found, space)
    pixels = np.argwhere(np.ones(SIZES[axes]))
    expected = points_of(moving, warp_points(pixels.astype(float), found.map))
    told = carried(opened(path), points_of(fixed, pixels))
    extent = np.abs(points_of(fixed, pixels)).max()
    np.testing.assert_allclose(told, expected, rtol=0, atol=8 * np.finfo(np.float32).eps * extent)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["tfm", "nii.gz", "mha"])
def test_simpleitk_resamples_as_the_registration_warps(registered, tmp_path, axes, kind):
    found, space = registered(axes, bend=0 if kind == "tfm" else 0.3), spaces(axes, oblique=kind != "nii.gz")
    fixed, moving = both_images(found, space)
    transform = opened(written(found, tmp_path, kind, **space))
    resampled = SimpleITK.Resample(moving, fixed, transform, SimpleITK.sitkLinear, -9.0)
    told = SimpleITK.GetArrayFromImage(resampled)
    limits = np.array(MOVING_SIZES[axes]).reshape(-1, *[1] * axes) - 1
    seen = ((found.map > 1e-3) & (found.map < limits - 1e-3)).all(0)
    assert seen.mean() > 0.2
    np.testing.assert_allclose(told[seen], warp_image(found.moving, found.map)[seen], rtol=0, atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_field_lies_where_the_fixed_image_lies(registered, tmp_path, axes):
    found = registered(axes)
    for kind, space in (("mha", spaces(axes)), ("nii", spaces(axes, oblique=False))):
        field = SimpleITK.ReadImage(written(found, tmp_path, kind, **space), SimpleITK.sitkVectorFloat64)
        assert field.GetSize() == SIZES[axes][::-1]
        assert field.GetSpacing() == tuple(found.spacing[::-1])
        assert field.GetOrigin() == tuple(space["origin"])
        np.testing.assert_allclose(field.GetDirection(), np.ravel(space["cosines"]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("axes", [2, 3])
def test_niftyregs_deformation_holds_positions_in_ras(registered, tmp_path, axes):
    found, space = registered(axes), spaces(axes, oblique=False)
    file = nibabel.load(written(found, tmp_path, "niftyreg", **space))
    header = file.header
    assert header["dim"].tolist() == [5, *SIZES[axes][::-1], *[1] * (4 - axes), axes, 1, 1]
    assert (int(header["intent_code"]), float(header["intent_p1"])) == (1007, 0)
    assert header["intent_name"].tobytes().rstrip(b"\0") == b"NREG_TRANS"
    fixed, moving = both_images(found, space)
    ras = np.array([-1.0, -1.0, 1.0])[:axes]
    pixels = np.argwhere(np.ones(SIZES[axes]))
    data = file.get_fdata().reshape(*SIZES[axes][::-1], axes)
    told = np.array([data[tuple(pixel[::-1])] for pixel in pixels])
    expected = points_of(moving, warp_points(pixels.astype(float), found.map)) * ras
    np.testing.assert_allclose(told, expected, rtol=0, atol=1e-9)
    voxels = np.zeros((len(pixels), 3))
    voxels[:, :axes] = pixels[:, ::-1]
    at = nibabel.affines.apply_affine(file.affine, voxels)
    np.testing.assert_allclose(at[:, :axes], points_of(fixed, pixels) * ras, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_qform_is_the_sform(registered, tmp_path, random, mirrored):
    cosines = turn(3, 2.0) * ([1, 1, -1] if mirrored else 1)
    header = nibabel.load(written(registered(3), tmp_path, "nii", origin=[1.0, 2.0, 3.0], cosines=cosines)).header
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), rtol=0, atol=1e-5)
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    for _ in range(20):
        rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        np.testing.assert_allclose(versor_rotation(versor_of(rotation)), rotation, rtol=0, atol=1e-12)
    for half_turn in np.eye(3):
        np.testing.assert_allclose(
            versor_rotation(versor_of(2 * np.diag(half_turn) - np.eye(3))),
            2 * np.diag(half_turn) - np.eye(3),
            atol=1e-12,
        )


def test_a_nifti_volume_lies_for_nibabel_and_for_us_where_it_lies_for_simpleitk(known, tmp_path):
    """The recipe of the documentation, on an image whose axes run where they like."""
    affine = np.eye(4)
    affine[:3] = [[0, -2, 0, 11], [0, 0, 1.5, -7], [-0.5, 0, 0, 5]]
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 10, 8)), affine), tmp_path / "fixed.nii")
    image, a = SimpleITK.ReadImage(str(tmp_path / "fixed.nii")), nibabel.load(tmp_path / "fixed.nii").affine
    scale, lps = np.linalg.norm(a[:3, :3], axis=0), np.diag([-1, -1, 1])
    space = {"origin": lps @ a[:3, 3], "cosines": lps @ a[:3, :3] / scale}
    np.testing.assert_allclose(space["origin"], image.GetOrigin())
    np.testing.assert_allclose(np.ravel(space["cosines"]), image.GetDirection(), atol=1e-12)
    found = known((8, 10, 12), affine=AFFINES[3], bend=0.3, spacing=scale[::-1])
    pixels = np.argwhere(np.ones((8, 10, 12)))
    told = carried(opened(written(found, tmp_path, "nii", **space)), points_of(image, pixels))
    np.testing.assert_allclose(told, points_of(image, warp_points(pixels.astype(float), found.map)), rtol=0, atol=1e-6)


# ---- there and back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])
def test_what_is_written_is_read(registered, random, tmp_path, axes, kind, direction):
    field = kind in ("nii", "nii.gz", "mha", "niftyreg")
    found, space = (
        registered(axes, bend=0.3 if field else 0),
        spaces(axes, oblique=kind not in ("nii", "nii.gz", "niftyreg")),
    )
    path = written(found, tmp_path, kind, direction=direction, **space)
    told = {**space, "spacing": found.spacing, "moving_spacing": found.moving_spacing}
    map = found.map
    if direction == "fixed_to_moving":
        map = found.inverse_map
        told = {
            name.removeprefix("moving_") if "moving_" in name else "moving_" + name: each for name, each in told.items()
        }
    read = read_transform(path, **told)
    assert isinstance(read, Transform)
    pixels = within(map.shape[1:], random)
    np.testing.assert_allclose(
        read.transform_points(pixels, "fixed_to_moving"), warp_points(pixels, map), rtol=0, atol=1e-9
    )
    if field:
        np.testing.assert_allclose(read.map, map, rtol=0, atol=1e-9)
        again = read_transform(path, **{name: each for name, each in told.items() if name.startswith("moving_")})
        np.testing.assert_array_equal(again.map, read.map)  # a field has the space of the fixed image
    else:
        assert read.map is None
        expected = (
            found.affine
            if direction == "moving_to_fixed"
            else np.linalg.inv(np.vstack([found.affine, np.eye(axes + 1)[-1]]))[:-1]
        )
        np.testing.assert_allclose(read.affine, expected, rtol=0, atol=1e-12)
    other = write_transform(
        read,
        tmp_path / ("again" + path[path.index("transform") + 9 :]),
        format="niftyreg" if kind == "niftyreg" else None,
    )
    carried_again = read_transform(other, **told).transform_points(pixels, "fixed_to_moving")
    np.testing.assert_allclose(carried_again, warp_points(pixels, map), rtol=0, atol=1e-9)


def test_points_are_pixels_in_x_and_y_where_nothing_is_said(registered, known, tmp_path):
    found = known((12, 15), affine=[[1, 0, 2], [0, 1, -3]])
    path = written(found, tmp_path, "csv")
    assert (tmp_path / "transform.csv").read_text() == "axis,x,y,shift\nx,1,0,-3\ny,0,1,2\n"
    np.testing.assert_array_equal(read_transform(path).affine, found.affine)


def test_the_linear_part_of_a_deformable_map_is_written_on_request(registered, tmp_path):
    found = registered(2)
    options = {"spacing": found.spacing, "moving_spacing": found.moving_spacing}
    for kind in ("tfm", "mat", "csv"):
        with pytest.raises(
            InputError, match=rf"`path`: a {kind} file holds a linear map, and this one is not; `linear`"
        ) as caught:
            written(found, tmp_path, kind)
        assert caught.value.argument == "path"
        assert not list(tmp_path.iterdir())
    for kind in ("tfm", "mha"):
        read = read_transform(written(found, tmp_path, kind, linear=True), **options)
        np.testing.assert_allclose(read.affine, found.affine, rtol=0, atol=1e-12)
    field = read_transform(written(found, tmp_path, "mha", linear=True, overwrite=True), **options)
    exact = np.einsum("ij,j...->i...", found.affine[:, :-1], np.indices((12, 15))) + found.affine[:, -1].reshape(
        2, 1, 1
    )
    np.testing.assert_allclose(field.map, exact, rtol=0, atol=1e-12)


def test_nothing_is_overwritten_unless_asked_for(registered, tmp_path):
    found = registered(2)
    path = written(found, tmp_path, "mha")
    before = (tmp_path / "transform.mha").read_bytes()
    with pytest.raises(InputError, match="`path`: there is a file .* already; `overwrite` = True replaces it"):
        write_transform(found, path, linear=True)
    assert (tmp_path / "transform.mha").read_bytes() == before
    assert write_transform(found, path, linear=True, overwrite=True) == path
    assert (tmp_path / "transform.mha").read_bytes() != before
    assert [each.name for each in tmp_path.iterdir()] == ["transform.mha"]
    one = (tmp_path / written(found, tmp_path, "nii.gz")).read_bytes()
    assert (tmp_path / written(found, tmp_path, "nii.gz", overwrite=True)).read_bytes() == one  # no time of day in it


# ---- what others write ----------------------------------------------------------------------------------


def random_transforms(random):
    """Linear transforms of SimpleITK of every kind."""
    for axes in (2, 3):
        affine = SimpleITK.AffineTransform(axes)
        affine.SetMatrix((np.eye(axes) + 0.2 * random.normal(size=(axes, axes))).ravel().tolist())
        affine.SetTranslation(random.normal(size=axes).tolist())
        yield affine
        yield SimpleITK.TranslationTransform(axes, random.normal(size=axes).tolist())
        yield SimpleITK.ScaleTransform(axes, random.uniform(0.5, 2, size=axes).tolist())
        yield SimpleITK.Transform(axes, SimpleITK.sitkIdentity)
    yield SimpleITK.Euler2DTransform([0, 0], 0.7, [3, 4])
    yield SimpleITK.Similarity2DTransform(1.3, 0.4, [3, 4])
    euler = SimpleITK.Euler3DTransform([0, 0, 0], 0.3, -0.5, 0.7, [1, 2, 3])
    yield euler
    last = SimpleITK.Euler3DTransform([0, 0, 0], 0.3, -0.5, 0.7, [1, 2, 3])
    last.SetComputeZYX(True)
    yield last
    yield SimpleITK.VersorTransform([0.2, -0.5, 0.8], 0.6)
    yield SimpleITK.VersorRigid3DTransform([0.2, -0.5, 0.8], 0.6, [1, 2, 3])
    yield SimpleITK.Similarity3DTransform(1.2, [0.2, -0.5, 0.8], 0.6, [1, 2, 3])


@pytest.mark.parametrize("ending", ["tfm", "txt", "mat"])
def test_linear_transforms_of_simpleitk_are_read(random, tmp_path, ending):
    for transform in random_transforms(random):
        axes = transform.GetDimension()
        if hasattr(transform, "SetCenter"):
            transform.SetCenter(random.normal(size=axes).tolist())
        path = tmp_path / f"a.{ending}"
        SimpleITK.WriteTransform(transform, str(path))
        points = random.normal(size=(9, axes))  # (x, y, z)
        told = read_transform(path).transform_points(points[:, ::-1], "fixed_to_moving")
        np.testing.assert_allclose(
            told[:, ::-1], carried(transform, points), rtol=0, atol=1e-12, err_msg=str(transform)
        )


def test_a_composite_applies_its_last_transform_first(random, tmp_path):
    parts = [each for each in random_transforms(random) if each.GetDimension() == 3][::2]
    composite = SimpleITK.CompositeTransform(parts)
    SimpleITK.WriteTransform(composite, str(tmp_path / "a.tfm"))
    points = random.normal(size=(9, 3))
    told = read_transform(tmp_path / "a.tfm").transform_points(points[:, ::-1], "fixed_to_moving")
    np.testing.assert_allclose(told[:, ::-1], carried(composite, points), rtol=0, atol=1e-12)


def field_of(axes, random, kind=SimpleITK.sitkVectorFloat64):
    values = random.normal(size=(*SIZES[axes], axes))
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(values, isVector=True), kind)
    image.SetSpacing([0.5, 1.25, 3.0][:axes])
    image.SetOrigin([4.0, -8.0, 2.0][:axes])
    image.SetDirection(np.eye(axes)[::-1].ravel().tolist())
    return image


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("ending", ["nii", "nii.gz", "mha"])
@pytest.mark.parametrize("kind", [SimpleITK.sitkVectorFloat64, SimpleITK.sitkVectorFloat32])
@pytest.mark.parametrize("compressed", [False, True])
def test_fields_of_simpleitk_are_read(random, tmp_path, axes, ending, kind, compressed):
    field, path = field_of(axes, random, kind), str(tmp_path / f"a.{ending}")
    SimpleITK.WriteImage(field, path, useCompression=compressed)
    moving = as_sitk(
        np.zeros(MOVING_SIZES[axes]), np.array([2.0, 0.5, 1.0])[:axes], [1.0, 2.0, 3.0][:axes], np.eye(axes)
    )
    read = read_transform(
        path, moving_spacing=[2.0, 0.5, 1.0][:axes], moving_origin=[1, 2, 3][:axes], moving_cosines=np.eye(axes)
    )
    transform = SimpleITK.DisplacementFieldTransform(SimpleITK.Cast(field, SimpleITK.sitkVectorFloat64))
    grid = SimpleITK.Image(SIZES[axes][::-1], SimpleITK.sitkFloat32)
    grid.SetSpacing([0.5, 1.25, 3.0][:axes])
    grid.SetOrigin([4.0, -8.0, 2.0][:axes])
    grid.SetDirection(np.eye(axes)[::-1].ravel().tolist())
    pixels = np.argwhere(np.ones(SIZES[axes]))
    expected = carried(transform, points_of(grid, pixels))
    told = points_of(moving, read.map.reshape(axes, -1).T)
    np.testing.assert_allclose(told, expected, rtol=0, atol=1e-6)
    assert read.spacing.tolist() == [0.5, 1.25, 3.0][:axes][::-1]


def test_numbers_of_the_other_byte_order_are_read(registered, tmp_path):
    found = registered(3)
    affine = registered(3, bend=0)
    little = read_transform(written(found, tmp_path, "nii"))
    data = bytearray((tmp_path / "transform.nii").read_bytes())
    image = nibabel.load(tmp_path / "transform.nii")
    swapped = nibabel.Nifti1Image(image.get_fdata(), image.affine, image.header.as_byteswapped(">"))
    nibabel.save(swapped, tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == struct.pack(">i", 348)
    np.testing.assert_allclose(read_transform(tmp_path / "big.nii").map, little.map, rtol=0, atol=1e-12)
    text, _, numbers = (tmp_path / written(found, tmp_path, "mha")).read_bytes().partition(b"LOCAL\n")
    turned = text.replace(b"MSB = False", b"MSB = True") + b"LOCAL\n" + np.frombuffer(numbers).astype(">f8").tobytes()
    (tmp_path / "big.mha").write_bytes(turned)
    np.testing.assert_array_equal(
        read_transform(tmp_path / "big.mha").map, read_transform(tmp_path / "transform.mha").map
    )
    straight = read_transform(written(affine, tmp_path, "mat"))
    data = (tmp_path / "transform.mat").read_bytes()
    first, second = struct.unpack("<5i", data[:20]), struct.unpack("<5i", data[143:163])
    big = struct.pack(">5i", 1000, *first[1:]) + data[20:47] + np.frombuffer(data[47:143]).astype(">f8").tobytes()
    big += struct.pack(">5i", 1000, *second[1:]) + data[163:169] + np.frombuffer(data[169:]).astype(">f8").tobytes()
    (tmp_path / "big.mat").write_bytes(big)
    np.testing.assert_array_equal(read_transform(tmp_path / "big.mat").affine, straight.affine)
    single = (
        struct.pack("<5i", 10, *first[1:])
        + data[20:47]
        + np.frombuffer(data[47:143]).astype("<f4").tobytes()
        + data[143:]
    )
    (tmp_path / "single.mat").write_bytes(single)
    np.testing.assert_allclose(read_transform(tmp_path / "single.mat").affine, straight.affine, rtol=1e-6)


def changed(path, **fields):
    """A NIfTI file with other fields of the header."""
    with open(path, "rb") as file:
        data = file.read()
    header = nibabel.Nifti1Header(data[:348])
    for name, value in fields.items():
        header[name] = value
    changed = str(path).replace("transform", "changed")
    with open(changed, "wb") as file:
        file.write(header.binaryblock + data[348:])
    return changed


def test_displacements_in_ras_are_read(registered, tmp_path):
    """Intent code 1006, which ITK turns into LPS as it reads it; and NiftyReg's displacements."""
    found, space = registered(3), spaces(3, oblique=False)
    path = written(found, tmp_path, "nii", **space)
    moving = {"moving_spacing": found.moving_spacing} | {key: value for key, value in space.items() if "moving" in key}
    other = changed(path, intent_code=1006)
    transform = opened(other)
    fixed, moving_image = both_images(found, space)
    pixels = np.argwhere(np.ones(SIZES[3]))
    told = points_of(moving_image, read_transform(other, **moving).map.reshape(3, -1).T)
    np.testing.assert_allclose(told, carried(transform, points_of(fixed, pixels)), rtol=0, atol=1e-6)
    assert np.abs(read_transform(other, **moving).map - found.map).max() > 1
    niftyreg = changed(path, intent_name=b"NREG_TRANS", intent_p1=1)
    np.testing.assert_allclose(
        read_transform(niftyreg, **moving).map, read_transform(other, **moving).map, rtol=0, atol=1e-9
    )


def test_the_scale_the_qform_and_the_spacing_of_a_nifti_are_heeded(registered, tmp_path):
    found, space = registered(3), {key: value for key, value in spaces(3, oblique=False).items() if "moving" not in key}
    path = written(found, tmp_path, "nii", **space)
    by_sform = read_transform(path)
    by_qform = read_transform(changed(path, sform_code=0))
    np.testing.assert_allclose(by_qform.cosines, by_sform.cosines, rtol=0, atol=1e-6)
    np.testing.assert_allclose(by_qform.origin, by_sform.origin)
    np.testing.assert_allclose(by_qform.map, by_sform.map, rtol=0, atol=1e-5)
    bare = read_transform(changed(path, sform_code=0, qform_code=0))
    np.testing.assert_allclose(bare.spacing, found.spacing)
    np.testing.assert_array_equal(bare.cosines, np.diag([-1.0, -1, 1]))  # voxels run along RAS
    doubled = read_transform(changed(path, scl_slope=2.0, scl_inter=0.5))
    there = [each.transform_points([[2.0, 3.0, 4.0]], "fixed_to_moving") for each in (by_sform, doubled)]
    steps = [
        (each.spaces[1].affine @ [*at[0], 1]) - (each.spaces[0].affine @ [2, 3, 4, 1])
        for each, at in zip((by_sform, doubled), there, strict=True)
    ]
    np.testing.assert_allclose(steps[1], 2 * steps[0] + 0.5, rtol=0, atol=1e-9)


# ---- a transform ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", ["csv", "mha"])
def test_a_transform_carries_points_and_images_both_ways(registered, random, tmp_path, axes, kind):
    found = registered(axes, bend=0 if kind == "csv" else 0.3)
    read = read_transform(written(found, tmp_path, kind), spacing=found.spacing, moving_spacing=found.moving_spacing)
    pixels = within(SIZES[axes], random)
    there = read.transform_points(pixels, "fixed_to_moving")
    np.testing.assert_allclose(read.transform_points(there), pixels, rtol=0, atol=1e-6)
    np.testing.assert_allclose(read.transform_points(there[3]), pixels[3], rtol=0, atol=1e-6)
    for interpolation in ("linear", "cubic", "nearest"):
        told = read.warp(found.moving, interpolation, fill=-1.0, shape=SIZES[axes])
        np.testing.assert_allclose(told, found.warp(found.moving, interpolation, fill=-1.0), rtol=0, atol=1e-8)
        back = read.warp(found.fixed, interpolation, -1.0, "fixed_to_moving", shape=MOVING_SIZES[axes])
        expected = found.warp(found.fixed, interpolation, -1.0, "fixed_to_moving")
        np.testing.assert_allclose(back, expected, rtol=0, atol=1e-6)
    channels = np.stack([found.moving, 2 * found.moving])
    told = read.warp(channels, "linear", -1.0, shape=SIZES[axes])
    np.testing.assert_allclose(told[1], warp_image(channels[1], found.map, fill=-1.0), rtol=0, atol=1e-8)
    labels = (found.moving > 0).astype(np.int16)
    assert read.warp(labels, "nearest", shape=SIZES[axes]).dtype == np.int16
    assert read.warp(found.moving).shape == (SIZES[axes] if kind == "mha" else MOVING_SIZES[axes])


def test_the_affine_of_a_field_is_the_nearest_one(registered, tmp_path):
    found = registered(2)
    read = read_transform(written(found, tmp_path, "mha"), moving_spacing=found.moving_spacing)
    pixels = np.concatenate([np.indices((12, 15)), np.ones((1, 12, 15))]).reshape(3, -1)
    expected = np.linalg.lstsq(pixels.T, found.map.reshape(2, -1).T, rcond=None)[0].T
    np.testing.assert_allclose(read.affine, expected, rtol=0, atol=1e-9)


def test_a_transform_is_a_value_that_plain_data_make_again(registered, tmp_path):
    read = read_transform(written(registered(2), tmp_path, "mha"))
    with pytest.raises(ValueError, match="read-only"):
        read.map[0] = 0
    again = Transform.from_dict(read.to_dict())
    for name, value in read.to_dict().items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert repr(again) == "<Transform: displacement field on 12 x 15, from 'transform.mha'>"
    straight = read_transform(written(registered(3, bend=0), tmp_path, "mat"))
    assert repr(Transform.from_dict(straight.to_dict())) == "<Transform: linear, of volumes, from 'transform.mat'>"


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "argument", "message"),
    [
        ({"path": "a.h5"}, InputError, "path", "`path` must end in one of '.tfm', '.txt', '.mat', '.csv', '.nii.gz', '.nii'"),
        ({"path": "a.mha", "format": "niftyreg"}, InputError, "path", "must end in .nii.gz or .nii for the format 'niftyreg'"),
        ({"path": "a.mha", "format": "itk"}, InputError, "format", "`format` must be one of 'tfm', 'mat'"),
        ({"path": ""}, InputError, "path", "`path` must be the path of a file"),
        ({"path": "nowhere/a.mha"}, InputError, "path", "cannot be written"),
        ({"origin": [1.0]}, ShapeError, "origin", "`origin` must have 2 coordinates, x, y; got 1"),
        ({"path": "a.nii", "origin": [1e300, 0]}, InputError, "origin", "`origin` is too large for the header of a NIfTI"),
        ({"moving_origin": [1.0, np.nan]}, InputError, "moving_origin", "`moving_origin` must be finite"),
        ({"cosines": np.eye(3)}, ShapeError, "cosines", "`cosines` must be a matrix of 2 x 2 numbers"),
        ({"moving_cosines": [1, 0, 1, 1]}, InputError, "moving_cosines", "must have columns of length 1 at right angles"),
        ({"direction": "back"}, InputError, "direction", "`direction` must be one of"),
        ({"linear": 1}, InputError, "linear", "`linear` must be true or false"),
        ({"overwrite": "yes"}, InputError, "overwrite", "`overwrite` must be true or false"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(registered, tmp_path, monkeypatch, options, kind, argument, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message) as caught:
        write_transform(registered(2), **{"path": "a.mha", **options})
    assert caught.value.argument == argument
    assert not list(tmp_path.iterdir())


def test_what_is_no_registration_is_not_written(registered, tmp_path):
    with pytest.raises(InputError, match=r"`found` must be a registration.*; got an array of shape \(2, 2\)"):
        write_transform(np.eye(2), tmp_path / "a.tfm")
    straight = read_transform(written(registered(2, bend=0), tmp_path, "tfm"))
    with pytest.raises(InputError, match="`found`: no field can be made.*it is a linear map, which has no grid"):
        write_transform(straight, tmp_path / "a.mha")
    field = read_transform(written(registered(2), tmp_path, "mha"))
    with pytest.raises(InputError, match="the size of the moving image is not known"):
        write_transform(field, tmp_path / "a.mha", direction="fixed_to_moving")
    wide = registered(2)
    object.__setattr__(wide, "map", np.zeros((2, 1, 2**15)))
    with pytest.raises(InputError, match="`path`: NIfTI-1 holds at most 32767 pixels along an axis"):
        write_transform(wide, tmp_path / "a.nii")


def cut(data):
    return data[:-9]


TFM = "#Insight Transform File V1.0\n#Transform 0\nTransform: {}\nParameters: {}\nFixedParameters: {}\n"
AFFINE = TFM.format("AffineTransform_double_2_2", "1 0 0 1 2 3", "0 0")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.tfm", "x", "is not a transform file of ITK: its first line is not '#Insight"),
        ("a.tfm", "", "is not a transform file of ITK"),
        ("a.tfm", "#Insight Transform File V1.0\n", "holds no transform"),
        ("a.tfm", AFFINE.replace("1 0 0 1", "1 0 0 b"), "is damaged: Parameters are not all numbers"),
        ("a.tfm", AFFINE.replace("2 3", "2"), "AffineTransform has 6 parameters and 2 fixed ones; got 5 and 2"),
        ("a.tfm", AFFINE.replace("2 3", "2 nan"), "numbers that are not finite"),
        ("a.tfm", AFFINE.replace("1 0 0 1", "1 1 1 1"), "a linear map that has no inverse"),
        ("a.tfm", AFFINE.replace("FixedParameters: 0 0\n", ""), "FixedParameters are missing"),
        ("a.tfm", AFFINE + "garbage\n", "is damaged: it has the line 'garbage'"),
        ("a.tfm", AFFINE + AFFINE[29:], "holds 2 transforms that are not a composite"),
        ("a.tfm", AFFINE.replace("Affine", "BSpline"), "holds a BSplineTransform, which is not among the linear transforms"),
        ("a.tfm", AFFINE.replace("Affine", "Euler3D"), "holds a Euler3DTransform of 2 axes, which ITK does not have"),
        ("a.mat", b"", "it holds , not a transform"),
        ("a.mat", b"\0" * 7, "is cut off"),
        ("a.mat", b"MATLAB 5.0 MAT-file" + b" " * 200, "is a MATLAB file of a later version"),
        ("a.mat", b"\1" * 200, "is not a MATLAB file of version 4"),
        ("a.csv", "axis,x,y,shift\nx,1,0,2\n", "needs the header 'axis,x,y,shift' and a row for each axis"),
        ("a.csv", "1,0,2\n0,1,3\n", "is not a table of a linear map"),
        ("a.csv", "axis,x,y,shift\nx,1,0,2\ny,0,1\n", "its rows are not 3 numbers each"),
        ("a.csv", "axis,x,y,shift\nx,1,0,2\ny,0,1,b\n", "its rows are not 3 numbers each"),
        ("a.csv", "", "is not a table of a linear map"),
        ("a.nii", b"", "fewer than the header of 348"),
        ("a.nii", b"\0" * 400, "is not a NIfTI-1 file that contains its data"),
        ("a.nii", struct.pack("<i", 540) + b"\0" * 600, "is a NIfTI-2 file"),
        ("a.nii.gz", b"\x1f\x8b\x08" + b"\0" * 400, "is damaged: it cannot be decompressed"),
        ("a.mha", b"", "is not a MetaImage file"),
        ("a.mha", b"\x89PNG", "is not a MetaImage file"),
    ],
)  # fmt: skip
def test_files_that_are_no_transforms_are_refused(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(TransformFileError, match=message) as caught:
        read_transform(tmp_path / name)
    assert caught.value.argument == "path"
    assert name in str(caught.value)


@pytest.mark.parametrize("kind", ["mat", "nii", "nii.gz", "mha"])
def test_a_file_that_is_cut_off_is_refused_wherever_the_cut_is(registered, tmp_path, kind):
    path = written(registered(2, bend=0), tmp_path, kind)
    with open(path, "rb") as file:
        data = file.read()
    for length in {0, 1, 19, 50, 100, 200, 347, 348, 400, len(data) // 2, len(data) - 1} - {len(data)}:
        if length < len(data):
            with open(path, "wb") as file:
                file.write(data[:length])
            with pytest.raises(TransformFileError):
                read_transform(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"intent_code": 0}, "its intent code is 0, not 1007"),
        ({"intent_name": b"NREG_TRANS", "intent_p1": 2}, r"neither a deformation nor a displacement field \(its intent_p1 is 2"),
        ({"datatype": 4}, r"holds numbers of the type 4; float32 \(16\)"),
        ({"dim": [3, 12, 10, 8, 1, 1, 1, 1]}, r"needs the sizes \(x, y, z, 1, 3\).*; got 12, 10, 8\."),
        ({"srow_x": [0, 0, 0, 0]}, "does not state the position of its pixels"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "does not state the position of its pixels"),
        ({"scl_inter": np.inf}, "numbers that are not finite"),
    ],
)  # fmt: skip
def test_nifti_files_of_other_things_are_refused(registered, tmp_path, fields, message):
    with pytest.raises(TransformFileError, match=message):
        read_transform(changed(written(registered(3), tmp_path, "nii"), **fields))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LOCAL", "field.raw", "keeps its data in another file, 'field.raw'"),
        ("ElementNumberOfChannels = 2", "ElementNumberOfChannels = 1", "number of components: 1, number of axes: 2"),
        ("MET_DOUBLE", "MET_SHORT", "holds 'MET_SHORT'; binary MET_FLOAT"),
        ("DimSize = 15 12", "DimSize = 15 b", "its header has no numbers DimSize"),
        ("DimSize = 15 12", "DimSize = 15 13", "is cut off: its data have 2880 bytes where 3120"),
        ("Offset = 0 0", "Offset = 0", "does not state the position of its pixels"),
        ("ElementSpacing = 0.75 3", "ElementSpacing = 0 3", "does not state the position of its pixels"),
        ("CompressedData = False", "CompressedData = True", "cannot be decompressed"),
    ],
)  # fmt: skip
def test_metaimages_of_other_things_are_refused(registered, tmp_path, old, new, message):
    path = tmp_path / written(registered(2), tmp_path, "mha")
    assert old.encode() in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(TransformFileError, match=message):
        read_transform(path)


@pytest.mark.parametrize(
    ("options", "kind", "argument", "message"),
    [
        ({"spacing": 2.0}, InputError, "spacing", r"`spacing` must be that of the field, \[3.0, 0.75\], or None; got \[2.0, 2.0\]"),
        ({"origin": [1.0, 0.0]}, InputError, "origin", "`origin` must be that of the field"),
        ({"cosines": [[0, 1], [1, 0]]}, InputError, "cosines", "`cosines` must be those of the field"),
        ({"moving_spacing": [1.0, 2.0, 3.0]}, ShapeError, "moving_spacing", "`moving_spacing` must be one number or 2"),
        ({"moving_origin": [1.0]}, ShapeError, "moving_origin", "`moving_origin` must have 2 coordinates"),
        ({"path": "nowhere.mha"}, TransformFileError, "path", "`path`: there is no file"),
        ({"path": "nowhere.png"}, InputError, "path", "`path` must end in one of"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_field_is_refused(registered, tmp_path, options, kind, argument, message):
    path = written(registered(2), tmp_path, "mha")
    with pytest.raises(kind, match=message) as caught:
        read_transform(**{"path": path, **options})
    assert caught.value.argument == argument


def test_what_a_transform_cannot_carry_is_refused(registered, tmp_path):
    field = read_transform(written(registered(2), tmp_path, "mha"))
    for wrong in (np.zeros(3), np.zeros((4, 3))):
        with pytest.raises(ShapeError, match="`points` must have 2 coordinates for each point: row, column"):
            field.transform_points(wrong)
    with pytest.raises(ShapeError, match="`shape` must be 12 x 15, as the transform has; got 12 x 16"):
        field.warp(np.zeros((14, 13)), shape=(12, 16))
    with pytest.raises(ShapeError, match="`image` must have the size of the field, 12 x 15; got 14 x 13"):
        field.warp(np.zeros((14, 13)), direction="fixed_to_moving")
    with pytest.raises(ShapeError, match="`image` must have 2 or 3 axes"):
        field.warp(np.zeros(14))
    straight = read_transform(written(registered(2, bend=0), tmp_path, "tfm"))
    with pytest.raises(ShapeError, match="`shape` must be 2 sizes"):
        straight.warp(np.zeros((14, 13)), shape=(3, 4, 5))
    folded = field.map.copy()
    folded[0] = np.abs(np.arange(12) - 5.5)[:, None]
    with pytest.raises(InputError, match="`points`: the field has no inverse at 1 of 1 points"):
        Transform.from_dict({**field.to_dict(), "map": folded}).transform_points([[-20.0, 3.0]])


def test_a_gzip_of_another_program_is_read(registered, tmp_path):
    path = tmp_path / written(registered(2), tmp_path, "nii")
    (tmp_path / "other.nii.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    np.testing.assert_array_equal(read_transform(tmp_path / "other.nii.gz").map, read_transform(path).map)
