"""Registration by other packages, for the benchmarks: functions of (moving, fixed), two arrays of greys.

Each returns its map from the fixed to the moving image, in pixels: (axis, *size of the fixed image), or None where it
finds none. What a package needs to be told is in `PEERS`, and what each does in its docstring. None is told more than
the images: not their angle, nor whether they are of the same contrast.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

FEATURES = 4000  # of SIFT, at most; those of the highest contrast
RANSAC = 5.0  # pixels
Map = np.ndarray | None


def nothing(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """The identity."""
    return np.indices(fixed.shape).astype(float)


def optical_flow(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """scikit-image's TV-L1 flow."""
    from skimage.registration import optical_flow_tvl1

    shown = nothing(moving, fixed)
    if moving.shape != fixed.shape:  # it needs images of one size
        moving = _fitted(moving, fixed.shape)
    return shown + optical_flow_tvl1(fixed.astype(np.float32), moving.astype(np.float32))


def _fitted(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The image cropped to a shape, or extended to it by its border."""
    missing = [(0, max(0, n - m)) for n, m in zip(shape, image.shape, strict=True)]
    return np.pad(image, missing, mode="edge")[tuple(slice(n) for n in shape)]


# ---- OpenCV -------------------------------------------------------------------------------------------------


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(255 * image, 0, 255).astype(np.uint8)


def _sift(moving: np.ndarray, fixed: np.ndarray, model: str) -> Map:
    """The matrix (3, 3) of (x, y, 1) from the fixed to the moving image, by RANSAC over mutual matches of SIFT."""
    import cv2

    sift = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=0.01)
    (places, features), (moving_places, moving_features) = (
        sift.detectAndCompute(_bytes(image), None) for image in (fixed, moving)
    )
    least = {"affine": 3, "homography": 4}[model]
    if features is None or moving_features is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(features, moving_features)
    if len(matches) < least:
        return None
    start = np.float32([places[m.queryIdx].pt for m in matches])
    end = np.float32([moving_places[m.trainIdx].pt for m in matches])
    if model == "homography":
        return cv2.findHomography(start, end, cv2.RANSAC, RANSAC)[0]
    found, _ = cv2.estimateAffine2D(start, end, ransacReprojThreshold=RANSAC)
    return None if found is None else np.vstack([found, [0, 0, 1]])


def _carried(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Apply a matrix of (x, y, 1) to the points of a grid: (axis, row, column)."""
    across, down, depth = (matrix[n, 0] * x + matrix[n, 1] * y + matrix[n, 2] for n in range(3))
    return np.stack([down / depth, across / depth])


def sift_affine(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """Mutual matches of SIFT, 4,000 features in each image; an affine map by RANSAC."""
    matrix, (row, column) = _sift(moving, fixed, "affine"), np.indices(fixed.shape)
    return None if matrix is None else _carried(matrix, column, row)


def sift_homography(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """As sift_affine, with a homography."""
    matrix, (row, column) = _sift(moving, fixed, "homography"), np.indices(fixed.shape)
    return None if matrix is None else _carried(matrix, column, row)


def sift_and_flow(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """The affine map of SIFT, then DIS optical flow."""
    import cv2

    rows, columns = fixed.shape
    matrix = _sift(moving, fixed, "affine")
    if matrix is None:
        return None
    warped = cv2.warpAffine(
        _bytes(moving), matrix[:2], (columns, rows), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(_bytes(fixed), warped, None)
    row, column = np.indices(fixed.shape)
    return _carried(matrix, column + flow[..., 0], row + flow[..., 1])


# ---- SimpleITK ----------------------------------------------------------------------------------------------


def turns(axes: int) -> list[np.ndarray]:
    """Matrices of (x, y) or (x, y, z): 8 turns of the plane, and the 24 of the cube."""
    if axes == 2:
        angles = [turn * math.pi / 4 for turn in range(8)]
        return [np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) for a in angles]
    signed = itertools.product(itertools.permutations(range(3)), itertools.product((1.0, -1.0), repeat=3))
    of_cube = [np.diag(signs)[list(order)] for order, signs in signed]
    return [turn for turn in of_cube if np.linalg.det(turn) > 0]


def _itk_images(moving: np.ndarray, fixed: np.ndarray) -> list:
    """Convert the fixed and the moving image to images of SimpleITK."""
    import SimpleITK as sitk

    return [sitk.GetImageFromArray(image.astype(np.float32)) for image in (fixed, moving)]


def _itk_affine(images: Sequence, metric: str):
    """SimpleITK's affine map with the best value of the metric, one optimization from each turn; None if all fail.

    The middles of the images lie on each other at the start.
    """
    import SimpleITK as sitk

    best, best_value = None, math.inf
    middles = [[(n - 1) / 2 for n in image.GetSize()] for image in images]
    for turn in turns(images[0].GetDimension()):
        start = sitk.AffineTransform(images[0].GetDimension())
        start.SetCenter(middles[0])
        start.SetTranslation(np.subtract(middles[1], middles[0]).tolist())
        start.SetMatrix(turn.ravel().tolist())
        method = sitk.ImageRegistrationMethod()
        if metric == "correlation":
            method.SetMetricAsCorrelation()
        else:
            method.SetMetricAsMattesMutualInformation(32)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 60)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2])
        method.SetSmoothingSigmasPerLevel([2, 1])
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(start, inPlace=True)
        try:
            method.Execute(*images)
        except RuntimeError:  # the images no longer overlap
            continue
        if method.GetMetricValue() < best_value:
            best, best_value = start, method.GetMetricValue()
    return best


def affine_and_demons(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """Affine maps by correlation from 8 angles, in volumes 24; the best, then diffeomorphic demons."""
    import SimpleITK as sitk

    axes, images = fixed.ndim, _itk_images(moving, fixed)
    best = _itk_affine(images, "correlation")
    if best is None:
        return None
    warped = sitk.Resample(images[1], images[0], best, sitk.sitkLinear)
    refined = sitk.DiffeomorphicDemonsRegistrationFilter()
    refined.SetNumberOfIterations(100)
    refined.SetStandardDeviations(2.0)
    field = sitk.GetArrayFromImage(refined.Execute(images[0], warped))  # (..., row, column, (x, y, ...))
    places = np.indices(fixed.shape)[::-1] + np.moveaxis(field, -1, 0)
    centre, shift = (np.reshape(v, (axes, *[1] * axes)) for v in (best.GetCenter(), best.GetTranslation()))
    return (np.tensordot(np.reshape(best.GetMatrix(), (axes, axes)), places - centre, axes=1) + centre + shift)[::-1]


def mutual_information(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """Affine maps by mutual information from 8 angles; the best, then a B-spline, from a fifth of the pixels."""
    import SimpleITK as sitk

    images = _itk_images(moving, fixed)
    best = _itk_affine(images, "mutual information")
    if best is None:
        return None
    bent = sitk.BSplineTransformInitializer(images[0], [8] * fixed.ndim)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, seed=1)
    method.SetOptimizerAsLBFGSB(numberOfIterations=30)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMovingInitialTransform(best)
    method.SetInitialTransform(bent, inPlace=True)
    try:
        method.Execute(*images)
    except RuntimeError:
        bent = sitk.Transform(fixed.ndim, sitk.sitkIdentity)
    both = sitk.CompositeTransform([best, bent])  # the last one is applied first
    field = sitk.TransformToDisplacementField(
        both, sitk.sitkVectorFloat64, images[0].GetSize(), images[0].GetOrigin(), images[0].GetSpacing(),
        images[0].GetDirection(),
    )  # fmt: skip
    return np.indices(fixed.shape) + np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1]


# ---- packages that are large and are installed by hand ------------------------------------------------------


def ants_syn(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """ANTs: a search for the rotation, then its symmetric normalization, with its defaults."""
    import ants
    import pandas

    # ANTs reads arrays as (x, y) and returns points as (x, y): here its x are the rows.
    there, here = (ants.from_numpy(image.astype(np.float32)) for image in (fixed, moving))
    start = ants.affine_initializer(there, here, search_factor=20, radian_fraction=1.0, local_search_iterations=20)
    found = ants.registration(there, here, "SyN", initial_transform=start)
    places = np.indices(fixed.shape).reshape(fixed.ndim, -1).T.astype(float)
    names = ["x", "y", "z"][: fixed.ndim]
    moved = ants.apply_transforms_to_points(fixed.ndim, pandas.DataFrame(places, columns=names), found["fwdtransforms"])
    return moved[names].to_numpy().T.reshape(fixed.ndim, *fixed.shape)


def elastix(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """elastix: rigid, affine and B-spline, with its defaults."""
    import itk

    parameters = itk.ParameterObject.New()
    for kind in ("rigid", "affine", "bspline"):
        parameters.AddParameterMap(itk.ParameterObject.GetDefaultParameterMap(kind))
    images = [itk.image_view_from_array(np.ascontiguousarray(image, np.float32)) for image in (fixed, moving)]
    try:
        _, found = itk.elastix_registration_method(*images, parameter_object=parameters, log_to_console=False)
    except RuntimeError:  # the images no longer overlap
        return None
    with tempfile.TemporaryDirectory() as folder:  # transformix leaves a file there
        shown = itk.transformix_deformation_field(images[1], found, output_directory=folder)
    field = itk.array_from_image(shown)  # (row, column, (x, y))
    return np.indices(fixed.shape) + np.moveaxis(field, -1, 0)[::-1]


def fireants(moving: np.ndarray, fixed: np.ndarray) -> Map:
    """FireANTs on the CPU: affine from the moments of the images and from their middles, the better one; greedy after it."""
    import logging

    import SimpleITK as sitk
    import torch
    from torch.nn.functional import grid_sample

    logging.disable(logging.WARNING)
    from fireants.io.image import BatchedImages, Image
    from fireants.registration.affine import AffineRegistration
    from fireants.registration.greedy import GreedyRegistration
    from fireants.registration.moments import MomentsRegistration

    options = {"loss_type": "cc", "cc_kernel_size": 5, "progress_bar": False}
    there, here = (
        BatchedImages([Image(sitk.GetImageFromArray(image.astype(np.float32)), device="cpu")])
        for image in (fixed, moving)
    )
    turned = MomentsRegistration(4, there, here, moments=2, orientation="rot", progress_bar=False)
    turned.optimize()
    best, best_value = None, -math.inf
    for start in (turned.get_affine_init(), "cof"):
        affine = AffineRegistration(
            [8, 4, 2, 1], [200, 100, 50, 20], there, here, optimizer_lr=3e-3, init_rigid=start, **options
        )
        affine.optimize()
        seen = grid_sample(here(), affine.get_warped_coordinates(there, here), align_corners=True)
        value = float(torch.corrcoef(torch.stack([seen.detach().flatten(), there().flatten()]))[0, 1])
        if value > best_value:
            best, best_value = affine.get_affine_matrix().detach(), value
    bent = GreedyRegistration([4, 2, 1], [200, 100, 25], there, here, init_affine=best, **options)
    bent.optimize()
    at = bent.get_warped_coordinates(there, here)[0].detach().numpy()  # (row, column, (x, y)), from -1 to 1
    return np.moveaxis((at + 1) / 2 * (np.array(moving.shape[::-1]) - 1), -1, 0)[::-1]


# name: the module that must be installed for it, and the function. The extra `peers` of the package has cv2 and
# SimpleITK; antspyx, itk-elastix and fireants are installed by hand
PEERS: dict[str, tuple[str | None, Callable[[np.ndarray, np.ndarray], Map]]] = {
    "nothing": (None, nothing),
    "TV-L1 flow (scikit-image)": ("skimage", optical_flow),
    "SIFT + affine (OpenCV)": ("cv2", sift_affine),
    "SIFT + homography (OpenCV)": ("cv2", sift_homography),
    "SIFT + DIS (OpenCV)": ("cv2", sift_and_flow),
    "8 starts + demons (SimpleITK)": ("SimpleITK", affine_and_demons),
    "8 starts, MI + B-spline (SimpleITK)": ("SimpleITK", mutual_information),
    "rotations + SyN (ANTs)": ("ants", ants_syn),
    "affine + B-spline (elastix)": ("itk", elastix),
    "moments + greedy (FireANTs)": ("fireants", fireants),
}


def missing() -> dict[str, str]:
    """The peers that cannot run here, and the module that each lacks."""
    return {name: module for name, (module, _) in PEERS.items() if module is not None and find_spec(module) is None}
