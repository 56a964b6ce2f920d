"""Any model at any angle: class sets that cover at every angle, and models before which images are turned upright.

Run as a program; it prints a table for each. `conformal` or `canonical` as an argument does one of them. All models
learn scikit-learn's digits (see `training.digits()`): 1,257 images to train, 540 to test.
"""

import sys
import time

import numpy as np
import torch
from training import digits, plain

import gequi
from gequi.geometry.grids import turned_grid
from gequi.geometry.rotations import on_array_axes, rotation_matrix
from gequi.geometry.sampling import grid_sample
from gequi.symmetry.conformal import METHODS, ConformalModel, scores_of_classes, turned_at_random

ANGLES = np.arange(0, 360, 15)
LEVEL = 0.9
SPLITS = 200  # random halves of the test images: one to calibrate, one to count
TRAINING = {"epochs": 20, "batch_size": 64, "learning_rate": 8e-3, "schedule": "one_cycle"}


def turned(x: np.ndarray, degrees: float, interpolation: str = "cubic") -> np.ndarray:
    """Images turned by one angle. Quarter turns move pixels only."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(x, int(degrees) // 90, (2, 3)))
    matrix = on_array_axes(rotation_matrix(torch.tensor([np.deg2rad(degrees)], dtype=torch.float64)).numpy())
    points = turned_grid(x.shape[2:], torch.as_tensor(matrix)).expand(len(x), -1, -1, -1)
    return grid_sample(torch.tensor(x, dtype=torch.float64), points, interpolation, "zeros").numpy().astype(x.dtype)


def trained(model: torch.nn.Module, augment: str | None, seed: int = 1) -> torch.nn.Module:
    x, y, _, _ = digits()
    gequi.fit(
        model, x, y, augment=augment, optimizer={"optimizer": "adam", "weight_decay": 1e-3}, seed=seed, **TRAINING
    )
    return model


# ---- conformal sets -------------------------------------------------------------------------------------


def conformal() -> None:
    """Coverage at every 15 degrees and mean size of the sets, over random halves of the test images.

    The bare model is calibrated with images at random angles too, without the average over the group.
    """
    print("class sets at 90 %, coverage in % at 24 angles: least, mean, most; mean size, and its largest at an angle")
    print(f"{'model':34s} {'sets':22s} {'least':>6s} {'mean':>6s} {'most':>6s} {'size':>6s} {'most':>6s}")
    spaces = {"bare": gequi.gspace("trivialOnR2"), "averaged, C24": gequi.gspace("rot2dOnR2", N=24)}
    for name, model in (
        ("plain, upright", trained(plain(), None)),
        ("plain, turned by any angle", trained(plain(), "rotation")),
    ):
        for kind, space in spaces.items():
            for method, (coverage, size) in covered(model, space).items():
                print(f"{name:34s} {method + ', ' + kind:22s} {coverage.min():6.2f} {coverage.mean():6.2f} "
                      f"{coverage.max():6.2f} {size.mean():6.2f} {size.max():6.2f}", flush=True)  # fmt: skip


def covered(model: torch.nn.Module, space: object) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Coverage in % and mean size of the sets at each angle, for each method.

    The probabilities of the test images are computed once. Each half of them calibrates as `conformal_sets()` does.
    """
    _, _, x, y = digits()
    averaged = gequi.conformal_sets(model, x, y, space, input={"trivial": 1}, rotate=True, seed=1).averaged
    at_random = torch.tensor(gequi.predict(averaged, turned_at_random(x, 1)))
    probabilities = [torch.tensor(gequi.predict(averaged, turned(x, angle))) for angle in ANGLES]
    found = {}
    for method in METHODS:
        own = scores_of_classes(at_random, method).numpy()[np.arange(len(y)), y]
        random = np.random.default_rng(2)
        coverage, size = np.zeros((2, SPLITS, len(ANGLES)))
        for split in range(SPLITS):
            order = random.permutation(len(y))
            calibration, test = order[: len(y) // 2], order[len(y) // 2 :]
            rank = int(np.ceil((len(calibration) + 1) * LEVEL - 1e-9))
            sets = ConformalModel(averaged, method, LEVEL, float(np.sort(own[calibration])[rank - 1]), len(calibration))
            sets.averaged = torch.nn.Identity()  # of probabilities that are known
            for number, each in enumerate(probabilities):
                members = sets(each[test]).numpy()
                coverage[split, number] = 100 * members[np.arange(len(test)), y[test]].mean()
                size[split, number] = members.sum(1).mean()
        found[method] = coverage.mean(0), size.mean(0)
    return found


# ---- canonicalization -----------------------------------------------------------------------------------


def canonical() -> None:
    """Accuracy of a plain network that was trained upright, alone and behind canonicalizers.

    The test images are turned with a cubic spline, as canonicalize() does, or with linear interpolation.
    """
    x, _, x_test, y_test = digits()
    networks = {"upright": trained(plain(), None), "upright with jitter": trained(plain(), "jitter")}
    print("digits, % right at 24 angles")
    print(
        f"{'plain network, trained':24s} {'canonicalizer':16s} {'images':8s} {'upright':>8s} {'least':>8s} {'mean':>8s}"
    )

    def show(name: str, kind: str, model: torch.nn.Module, interpolation: str = "cubic") -> None:
        images = (turned(x_test, angle, interpolation) for angle in ANGLES)
        right = [100 * float((gequi.predict(model, each).argmax(1) == y_test).mean()) for each in images]
        print(
            f"{name:24s} {kind:16s} {interpolation:8s} {right[0]:8.2f} {min(right):8.2f} {np.mean(right):8.2f}",
            flush=True,
        )

    for name, network in networks.items():
        show(name, "none", network)
    for rotations in (16, 8):
        start = time.process_time()
        pose = gequi.fit_canonicalizer(x, gequi.gspace("rot2dOnR2", N=rotations), seed=1)
        print(f"C{rotations} trained in {time.process_time() - start:.0f} s of CPU time", flush=True)

        def behind(name: str, refine: bool = True, pose: torch.nn.Module = pose) -> torch.nn.Module:
            return gequi.canonicalize(networks[name], pose, output={"trivial": 10}, refine=refine)

        for name in networks:
            show(name, f"C{rotations}, refined", behind(name))
        if rotations == 16:
            show("upright", "C16, refined", behind("upright"), "linear")
        show("upright", f"C{rotations}", behind("upright", refine=False))


def main() -> None:
    torch.set_num_threads(1)
    wanted = sys.argv[1:] or ["conformal", "canonical"]
    for name, work in (("conformal", conformal), ("canonical", canonical)):
        if name in wanted:
            start = time.process_time()
            work()
            print(f"{time.process_time() - start:.0f} s of CPU time")


if __name__ == "__main__":
    main()
