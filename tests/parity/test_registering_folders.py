"""folders: both languages register the same pairs, and write the same files and jobs."""

import json

import numpy as np

import gequi

IMAGE = gequi.sample_image("cat")[50:98, 150:198]


def test_register_folder_and_its_jobs(r, tmp_path):
    np.save(tmp_path / "fixed.npy", IMAGE)
    np.save(tmp_path / "flat.npy", IMAGE * 0)
    np.save(tmp_path / "one.npy", IMAGE.T[::-1])
    table = [
        {"moving": str(tmp_path / f"{name}.npy"), "fixed": str(tmp_path / "fixed.npy")} for name in ("flat", "one")
    ]
    files = r.code("data.frame(moving = moving, fixed = fixed, mirror = NA)",
                   moving=[row["moving"] for row in table], fixed=table[0]["fixed"])  # fmt: skip
    theirs = r.value(r.register_folder(files, str(tmp_path / "r"), transform="rigid"))
    ours = gequi.register_folder(table, tmp_path / "python", transform="rigid")
    assert [list(row) for row in theirs] == [list(row) for row in ours]
    for one, other in zip(theirs, ours, strict=True):
        for name in set(one) - {"seconds", "map", "warped"}:
            assert one[name] == other[name]
    for name in ("maps/one.nii.gz", "warped/one.npy"):
        assert (tmp_path / "r" / name).read_bytes() == (tmp_path / "python" / name).read_bytes()
    assert r.value(r.collect_registration(str(tmp_path / "r"))) == theirs
    options = {"transform": "rigid", "devices": 2, "nodes": 3}
    lines = r.value(r.prepare_registration(str(tmp_path / "job-r"), files, **options))
    expected = gequi.prepare_registration(tmp_path / "job-python", table, **options)
    assert lines == {key: line.replace("job-python", "job-r") for key, line in expected.items()}
    jobs = [json.loads((tmp_path / f"job-{name}" / "job.json").read_text()) for name in ("r", "python")]
    assert jobs[0]["pairs"] == jobs[1]["pairs"]
