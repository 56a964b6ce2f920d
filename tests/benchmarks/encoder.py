"""Trains the encoder that gequi carries for images of different kinds. Run: python tests/benchmarks/encoder.py FILE

Without FILE it is trained for 20 steps and not kept: this shows that the training works and how long a step takes. It
learns from pictures of scikit-image and scikit-learn, none of which the benchmark of registration uses. The file
stores what it was made of and how the training went. To compare it with the designed encoder:
python tests/benchmarks/registration.py --changes multimodal --methods gequi "gequi, trained encoder"
"""

from __future__ import annotations

import argparse

import numpy as np

import gequi

PICTURES = (
    "moon", "page", "text", "clock", "rocket", "hubble_deep_field", "horse", "microaneurysms", "shepp_logan_phantom",
    "colorwheel", "logo", "stereo_motorcycle",
)  # fmt: skip
SAMPLES = ("china.jpg", "flower.jpg")  # of scikit-learn
SIDE = 200  # pixels along the shorter side


def images() -> list[np.ndarray]:
    """The pictures (row, column, channel): in grey and, of colour pictures, their red and blue."""
    from skimage import color, data, transform
    from sklearn.datasets import load_sample_image

    loaded = [getattr(data, name)() for name in PICTURES] + [load_sample_image(name) for name in SAMPLES]
    found = []
    for picture in loaded:
        picture = picture[0] if isinstance(picture, tuple) else picture  # of a stereo pair the left one
        image = np.asarray(picture, dtype=np.float64)
        if image.ndim == 3:
            image = np.stack([color.rgb2gray(image[..., :3]), image[..., 0], image[..., 2]], 2)
        scale = min(1.0, SIDE / min(image.shape[:2]))
        size = [round(scale * n) for n in image.shape[:2]]
        image = transform.resize(image, [*size, *image.shape[2:]], anti_aliasing=True).reshape(*size, -1)
        found.append(image[..., np.ptp(image, axis=(0, 1)) > 0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--steps", type=int, help="700, and 20 without FILE")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    steps = chosen.steps or (20 if chosen.file is None else 700)
    options = {"contrast": "any", "steps": steps, "minutes": chosen.minutes, "seed": chosen.seed}

    def progress(told: dict) -> None:
        print(f"\rstep {told['step']}/{told['steps']}  loss {told['loss']:.3f}", end="", flush=True)

    encoder = gequi.registration_encoder(images(), device="cpu", progress=progress, **options)
    about = {"command": "python tests/benchmarks/encoder.py", "options": options, "pictures": [*PICTURES, *SAMPLES]}
    if chosen.file is not None:
        gequi.save_model(encoder, chosen.file, metadata={**about, "history": encoder.history})
    print()
    for row in encoder.history:
        print({name: row[name] for name in ("epoch", "loss", "learning_rate", "seconds")})


if __name__ == "__main__":
    main()
