"""folders: prediction for images in files, in one process or several."""

import importlib.util
import json
import os
import shlex
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import gequi
from gequi import folders, jobs
from gequi.errors import InputError, ModelFileError, SetupError, ShapeError, TrainingError
from gequi.folders import _files, prediction
from gequi.jobs import _running
from gequi.saving import pack

C4 = gequi.gspace("rot2dOnR2", N=4)
LAYERS = [
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"}, {"layer": "global_avg_pool"},
    {"layer": "group_pool"}, {"layer": "dense", "units": 3},
]  # fmt: skip


def network(channels=1):
    return gequi.equivariant_network(C4, {"trivial": channels}, LAYERS, seed=1)


@pytest.fixture
def images(tmp_path, random):
    """A folder of seven images, and what is in them."""
    x = random.normal(size=(7, 1, 9, 9))
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (4, 0, 6, 1, 5, 3, 2):  # not in the order in which they are read
        np.save(folder / f"image-{number}.npy", x[number] if number % 2 else x[number, 0])
    (folder / "notes.txt").write_text("no image")
    return folder, x


# ---- what is predicted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_folder_gives_what_its_images_give_in_the_order_of_their_names(images, batch_size):
    folder, x = images
    found = gequi.predict_folder(network(), folder, batch_size=batch_size)
    assert [Path(file).name for file in found["files"]] == [f"image-{number}.npy" for number in range(7)]
    np.testing.assert_allclose(found["output"], gequi.predict(network(), x), atol=1e-6)


def test_a_list_of_files_keeps_its_order(images):
    folder, x = images
    files = [folder / f"image-{number}.npy" for number in (5, 0, 5)]
    found = gequi.predict_folder(network(), files)
    assert found["files"] == list(map(str, files))
    np.testing.assert_allclose(found["output"], gequi.predict(network(), x[[5, 0, 5]]), atol=1e-6)
    assert gequi.predict_folder(network(), files[0])["output"].shape == (1, 3)


@pytest.mark.parametrize("type", ["prob", "class"])
def test_classes_and_their_probabilities(images, type):
    folder, x = images
    found = gequi.predict_folder(network(), folder, type=type)
    np.testing.assert_allclose(found["output"], gequi.training.predict_classes(network(), x, type), atol=1e-6)


@pytest.mark.parametrize(
    ("devices", "how"), [(2, "forked"), (3, "forked"), pytest.param(2, "started", marks=pytest.mark.slow)]
)
def test_several_processes_predict_what_one_does(images, devices, how, request):
    if how == "forked":
        request.getfixturevalue("forked_workers")
    folder, _ = images
    alone = gequi.predict_folder(network(), folder, batch_size=2)
    together = gequi.predict_folder(network(), folder, batch_size=2, devices=devices)
    assert together["files"] == alone["files"]
    np.testing.assert_allclose(together["output"], alone["output"], rtol=0, atol=1e-6)


def test_other_modules_and_volumes_are_predicted_too(tmp_path, random):
    x = random.normal(size=(2, 1, 5, 5, 5))
    np.save(tmp_path / "a.npy", x[0])
    np.save(tmp_path / "b.npy", x[1, 0])
    net = gequi.equivariant_network(gequi.gspace("octaOnR3"), "trivial", [{"layer": "global_avg_pool"}], seed=1)
    np.testing.assert_allclose(gequi.predict_folder(net, tmp_path)["output"], gequi.predict(net, x), atol=1e-6)
    np.save(tmp_path / "a.npy", x[0, :, 0])
    (tmp_path / "b.npy").unlink()
    module = torch.nn.Flatten()
    np.testing.assert_allclose(gequi.predict_folder(module, tmp_path)["output"], x[:1, 0, 0].reshape(1, -1), atol=1e-6)


# ---- pictures -------------------------------------------------------------------------------------------


def test_pictures_are_read_as_numbers_from_0_to_1(tmp_path, random):
    grey = random.integers(0, 256, (4, 6)).astype(np.uint8)
    colour = random.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    deep = random.integers(0, 65536, (4, 6)).astype(np.uint16)
    kept = {
        "grey.png": (Image.fromarray(grey), grey[None] / 255),
        "colour.tif": (Image.fromarray(colour), np.moveaxis(colour, 2, 0) / 255),
        "with-alpha.png": (Image.fromarray(colour).convert("RGBA"), np.moveaxis(colour, 2, 0) / 255),
        "deep.png": (Image.fromarray(deep), deep[None] / 65535),
        "black-and-white.bmp": (Image.fromarray(grey > 99), (grey > 99)[None].astype(float)),
        "float.tif": (Image.fromarray(grey.astype(np.float32) / 7), grey[None].astype(np.float32) / 7),
    }
    for name, (picture, expected) in kept.items():
        picture.save(tmp_path / name)
        found = _files.read_image(tmp_path / name)
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)
    Image.new("RGB", (8, 8), (40, 120, 200)).save(tmp_path / "colour.jpg", quality=100)
    expected = np.array([40, 120, 200])[:, None, None] / 255 * np.ones((1, 8, 8))
    np.testing.assert_allclose(_files.read_image(tmp_path / "colour.jpg"), expected, atol=0.01)


DEEP = {
    "png": lambda x, file: cv2.imwrite(file, x[..., [2, 1, 0, 3][: x.shape[2]]]),
    **{
        f"{order} endian, {compression}": lambda x, file, order=order, compression=compression: tifffile.imwrite(
            file, x, photometric="rgb", byteorder=">" if order == "big" else "<", compression=compression,
            extrasamples=["unassalpha"] if x.shape[2] == 4 else None,
        )
        for order in ("little", "big") for compression in (None, "zlib")
    },
    "LZW": lambda x, file: cv2.imwrite(file, x[..., [2, 1, 0, 3][: x.shape[2]]]),
}  # fmt: skip


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", DEEP)
def test_colours_of_16_bits_are_read_to_the_last(tmp_path, random, kind, channels):
    whole = random.integers(0, 65536, (5, 4, channels)).astype(np.uint16)
    file = tmp_path / ("deep.png" if kind == "png" else "deep.tif")
    DEEP[kind](whole, str(file))
    np.testing.assert_array_equal(_files.read_image(file), whole[..., :3].transpose(2, 0, 1) / 65535)


def test_a_grey_of_16_bits_with_alpha_is_read_to_the_last(tmp_path, random):
    grey, alpha = random.integers(0, 65536, (2, 5, 4))
    pixels = np.stack([grey, alpha], 2).astype(">u2")
    rows = [b"\0" + line.tobytes() for line in pixels]  # written byte by byte, because few programs write such files
    header = struct.pack(">IIBBBBB", 4, 5, 16, 4, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    data = [struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks]
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data))
    np.testing.assert_array_equal(_files.read_image(tmp_path / "deep.png"), grey[None] / 65535)


def test_the_slices_of_a_volume_have_colours_of_16_bits_too(tmp_path, random):
    whole = random.integers(0, 65536, (3, 5, 4, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", whole, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(_files.read_image(tmp_path / "deep.tif", 3), whole.transpose(3, 0, 1, 2) / 65535)


def test_colours_of_16_bits_that_pillow_misreads_are_refused(tmp_path, random):
    whole = random.integers(0, 65536, (3, 5, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", whole, photometric="rgb", planarconfig="separate")
    with pytest.raises(
        InputError, match="deep.tif' cannot be read .its colors have 16 bits and are stored plane by plane"
    ):
        _files.read_image(tmp_path / "deep.tif")


def test_a_network_of_colours_takes_pictures_of_three_channels(tmp_path, random):
    colour = random.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    Image.fromarray(colour).save(tmp_path / "a.PNG")
    found = gequi.predict_folder(network(3), tmp_path)["output"]
    np.testing.assert_allclose(found, gequi.predict(network(3), np.moveaxis(colour, 2, 0)[None] / 255), atol=1e-6)


# ---- jobs -----------------------------------------------------------------------------------------------


def test_torchrun_does_a_job_and_its_parts_come_together_in_order(images, tmp_path):
    folder, _ = images
    lines = gequi.prepare_prediction(
        tmp_path / "a job", network(), folder, batch_size=2, devices=2, metadata={"by": "me"}
    )
    assert folders.prediction_job(tmp_path / "a job")["metadata"] == {"by": "me"}
    with pytest.raises(InputError, match="is not finished; none of its parts exist"):
        gequi.collect_prediction(tmp_path / "a job")
    command = shlex.split(lines["torchrun"].replace("FIRST_MACHINE:29500", "localhost:0"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", *command[1:]]
    package = str(Path(gequi.__file__).parents[1])
    subprocess.run(torchrun, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": package}, timeout=300)
    assert sorted(file.name for file in (tmp_path / "a job").glob("part*")) == [
        "part-1-of-2.safetensors",
        "part-2-of-2.safetensors",
    ]
    found = gequi.collect_prediction(tmp_path / "a job")
    alone = gequi.predict_folder(network(), folder)
    assert found["files"] == alone["files"]
    np.testing.assert_allclose(found["output"], alone["output"], rtol=0, atol=1e-6)


def test_slurm_tells_a_worker_its_part_and_a_part_that_is_there_is_not_done_again(images, tmp_path, monkeypatch):
    folder, _ = images
    job = tmp_path / "job"
    lines = gequi.prepare_prediction(job, network(), folder, devices=4, nodes=2)
    assert lines["srun"] == f"srun --nodes 2 --ntasks-per-node 4 {sys.executable} -m gequi.folders {job}"
    for rank in range(8):  # one more than there are images
        if rank == 3:
            with pytest.raises(InputError, match="is not finished; 3 of 8 of its parts exist"):
                gequi.collect_prediction(job)
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        monkeypatch.setenv("SLURM_NTASKS", "8")
        prediction.work(job)
    found = gequi.collect_prediction(job)
    np.testing.assert_allclose(found["output"], gequi.predict_folder(network(), folder)["output"], rtol=0, atol=1e-6)
    before = (job / "part-8-of-8.safetensors").stat().st_mtime_ns
    prediction.work(job)
    assert (job / "part-8-of-8.safetensors").stat().st_mtime_ns == before
    assert sorted(json.loads((job / "job.json").read_text())) == [
        "batch_size", "checksum", "checksums", "device", "devices", "files", "metadata", "nodes", "shape", "type",
    ]  # fmt: skip


def test_a_part_of_another_job_or_of_too_few_images_is_refused_and_done_again(images, tmp_path):
    folder, _ = images
    one, other = tmp_path / "one", tmp_path / "other"
    gequi.prepare_prediction(one, network(), folder)
    gequi.prepare_prediction(other, network(), folder, batch_size=1)
    part = "part-1-of-1.safetensors"
    for job in (one, other):
        prediction.work(job)
    expected = (one / part).read_bytes()
    few = pack({"output": np.zeros((6, 3), np.float32)}, {"job": jobs.identity(one)})
    for data, error in [((other / part).read_bytes(), InputError), (few, InputError), (expected[:-1], ModelFileError)]:
        (one / part).write_bytes(data)
        with pytest.raises(error, match="is a part of another job|is cut off"):
            gequi.collect_prediction(one)
        prediction.work(one)
        assert (one / part).read_bytes() == expected


def test_a_worker_that_is_killed_fails_the_prediction_with_its_log(images, monkeypatch, forked_workers):
    start = _running._start

    def killed(*where):
        worker = start(*where)
        worker.kill()
        return worker

    monkeypatch.setattr(_running, "_start", killed)
    with pytest.raises(TrainingError, match=r"worker \d of 2 was killed by SIGKILL; its log is '.*\.log'\.$"):
        gequi.predict_folder(network(), images[0], devices=2)


# ---- what is refused ------------------------------------------------------------------------------------


def test_the_pages_of_a_picture_are_slices_of_a_volume_and_never_one_image(tmp_path, random):
    slices = random.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    pages = [Image.fromarray(each) for each in slices]
    for name in ("pages.tif", "moving.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        np.testing.assert_array_equal(_files.read_image(tmp_path / name, axes=3), slices[None] / 255)
        with pytest.raises(ShapeError, match=f"{name}.* has 3 pages, which are as many images: give a file for each"):
            _files.read_image(tmp_path / name)
    pages[0].save(tmp_path / "sizes.tif", save_all=True, append_images=[pages[1].resize((9, 9))])
    with pytest.raises(InputError, match="cannot be read .*same shape"):
        _files.read_image(tmp_path / "sizes.tif", axes=3)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda folder: {"images": folder / "none"}, InputError, "there is no folder '.*none'"),
        (lambda folder: {"images": [folder / "none.npy"]}, InputError, "there is no file '.*none.npy'"),
        (lambda folder: {"images": [folder / "notes.txt"]}, InputError, r"'.*notes.txt' must end with one of .npy .png"),
        (lambda folder: {"images": []}, InputError, "`images` must be a folder, or a list of files"),
        (lambda folder: {"model": "net"}, InputError, "`model` must be a network"),
        (lambda folder: {"type": "klass"}, InputError, "`type` must be one of 'raw', 'prob', 'class'.*Did you mean 'class'"),
        (lambda folder: {"device": "tpu"}, InputError, "`device` must be one of"),
        (lambda folder: {"devices": 0}, InputError, "`devices` must be at least 1"),
        (lambda folder: {"batch_size": 1.5}, InputError, "`batch_size` must be a whole number"),
        (lambda folder: {"model": network(3)}, ShapeError, "'.*image-0.npy' does not fit the model: .*must have 3 on its axis 'channel'"),
        (lambda folder: {"model": torch.nn.Flatten(), "devices": 2}, InputError, "`model` must have a recipe"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(images, change, kind, message):
    with pytest.raises(kind, match=message):
        gequi.predict_folder(**{"model": network(), "images": images[0], **change(images[0])})


def test_a_file_that_does_not_belong_to_the_others_is_named(images, tmp_path):
    folder, _ = images
    np.save(folder / "image-3.npy", np.ones((1, 9, 8)))
    with pytest.raises(ShapeError, match=r"'.*image-3.npy' has \(1, 9, 8\), the first one \(1, 9, 9\)"):
        gequi.predict_folder(network(), folder)
    (folder / "image-3.npy").write_bytes(b"not an array")
    with pytest.raises(InputError, match=r"`images`: '.*image-3.npy' cannot be read"):
        gequi.predict_folder(network(), folder)
    (folder / "image-3.npy").unlink()
    (folder / "image-3.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"`images`: '.*image-3.png' cannot be read"):
        gequi.predict_folder(network(), folder)
    with pytest.raises(InputError, match="`folder`: .* is not empty"):
        gequi.prepare_prediction(folder, network(), folder)
    with pytest.raises(InputError, match="`folder`: .* holds no predictions"):
        gequi.collect_prediction(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no file that ends with"):
        gequi.predict_folder(network(), tmp_path / "empty")


def test_pictures_need_pillow_and_arrays_do_not(images, monkeypatch, tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"needs PIL \(pillow\): install gequi\[images\]"):
        gequi.predict_folder(network(), [tmp_path / "a.png"])
    gequi.predict_folder(network(), images[0])


# ---- files as they come ---------------------------------------------------------------------------------


def test_hidden_files_are_passed_over(tmp_path):
    np.save(tmp_path / "1.npy", np.eye(9))
    (tmp_path / "._x.png").write_bytes(b"what macOS leaves")
    assert [file.name for file in _files.list_images(tmp_path)] == ["1.npy"]


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path):
    picture = Image.fromarray((np.arange(12).reshape(3, 4) * 20).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    picture.save(tmp_path / "1.png", exif=exif)
    expected = np.rot90(np.asarray(picture) / 255, -1)
    np.testing.assert_array_equal(_files.read_image(tmp_path / "1.png")[0], expected)


@pytest.mark.parametrize(("kind", "highest"), [("int32", 2**31 - 1), ("uint32", 2**32 - 1)])
def test_whole_numbers_of_32_bits_are_scaled_by_their_type(tmp_path, kind, highest):
    values = np.array([[0, highest // 3], [highest // 2, highest]], kind)
    Image.fromarray(values.view(np.int32)).save(tmp_path / "1.tif")
    if kind == "uint32":  # pillow writes signed integers only; the tag is changed to unsigned
        data = (tmp_path / "1.tif").read_bytes()
        tag = struct.pack("<HHIH", 339, 3, 1, 2)
        assert data.count(tag) == 1
        (tmp_path / "1.tif").write_bytes(data.replace(tag, struct.pack("<HHIH", 339, 3, 1, 1)))
    np.testing.assert_allclose(_files.read_image(tmp_path / "1.tif")[0], values / highest)


def test_an_image_that_is_not_finite_is_named(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((9, 9), np.nan if number == 1 else 1.0))
    with pytest.raises(InputError, match=r"`images`: '.*1\.npy' cannot be read \(it has values that are not finite\)"):
        gequi.predict_folder(network(), tmp_path)


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path):
    np.save(tmp_path / "1.npy", np.eye(9))
    os.mkfifo(tmp_path / "2.npy")
    with pytest.raises(InputError, match=r"`images`: '.*2\.npy' cannot be read \(it is no file\)"):
        gequi.predict_folder(network(), tmp_path)


def test_a_picture_too_large_to_be_one_is_refused(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"1\.png' cannot be read \(Image size \(81 pixels\) exceeds limit"):
        _files.read_image(tmp_path / "1.png")


@pytest.mark.parametrize("kind", ["npy", "png", "jpg", "tif", "bmp"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_cut_and_damaged_images_are_errors_or_images(tmp_path, kind, random, capsys):
    path = tmp_path / f"1.{kind}"
    values = (random.random((9, 9)) * 255).astype(np.uint8)
    np.save(path, values) if kind == "npy" else Image.fromarray(values).save(path)
    data, refused, read = path.read_bytes(), 0, 0
    for place in range(0, len(data), max(1, len(data) // 60)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        for damaged in (data[:place], bytes(flipped)):
            path.write_bytes(damaged)
            try:
                _files.read_image(path)
                read += 1
            except InputError:
                refused += 1
    assert refused
    with capsys.disabled():
        print(f" {kind}: {refused} refused, {read} read", end="")
