"""Jobs on a real SLURM cluster of one node, which this program starts and ends.

Run as root, after `apt-get install slurmctld slurmd slurm-client munge`: python tests/benchmarks/slurm.py [--pairs N]

A folder of pairs is registered by the array job of `prepare_registration()` with two tasks. One worker is killed with
SIGKILL while it registers. The same command is then submitted again. Checked are the number of pairs that the kill lost
(at most one), that finished pairs are not registered again, and that the table is complete. A training is then run by the
command of `prepare_job()` in a batch script with two tasks, and compared with `fit()` with two processes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import gequi

SETTINGS = """
ClusterName=gequi
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Start munge and SLURM with all their files in a folder, and end them."""
    host = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "slurm.conf").write_text(SETTINGS.format(host=host, folder=folder, controller=16817, daemon=16818))
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    options = [f"--{name}={folder / file}" for name, file in {**files, "seed-file": "munge.seed"}.items()]
    with contextlib.ExitStack() as stack:
        for command in (["munged", "--force", "--foreground", *options], ["slurmctld", "-D"], ["slurmd", "-D"]):
            log = stack.enter_context(open(folder / f"{command[0]}.out", "wb"))
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(lambda daemon=daemon: (daemon.terminate(), daemon.wait()))
            time.sleep(1)
        wait_until(lambda: "idle" in said("sinfo", "-h", "-o", "%T"), 60, "no node is idle")
        yield


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def wait_until(condition, seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


def submitted(command: str, folder: Path) -> str:
    """Submit a command of gequi and return the number of the job."""
    done = subprocess.run(
        command.replace("sbatch", f"sbatch --parsable --output {folder}/%A-%a.out --ntasks 1", 1),
        shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def ended(job: str) -> bool:
    return not said("squeue", "-h", "-j", job, "-o", "%T")


def workers(folder: Path) -> list[int]:
    """The processes `python -m gequi.folders FOLDER`, without the shells that started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:4] == [b"-m", b"gequi.folders", str(folder).encode()]:
                found.append(int(process.name))
    return found


def registrations(place: Path, pairs: int) -> None:
    images, job = place / "images", place / "job"
    images.mkdir()
    cat = gequi.sample_image("cat")
    np.save(images / "fixed.npy", cat[40:136, 150:246])
    for number in range(pairs):
        np.save(images / f"{number:03}.npy", np.rot90(cat[40 + number % 9 : 136 + number % 9, 150:246], number % 4))
    lines = gequi.prepare_registration(job, images, images / "fixed.npy", devices=2)
    first = submitted(lines["sbatch"], place)
    rows = job / "rows"
    wait_until(lambda: rows.is_dir() and len(list(rows.glob("*.json"))) >= pairs // 4, 600, "no pair was registered")
    running = workers(job)
    os.kill(running[0], signal.SIGKILL)
    wait_until(lambda: ended(first), 600, "the job does not end")
    before = {file.name: file.stat().st_mtime_ns for file in rows.glob("*.json")}
    maps = {file.name.removesuffix(".nii.gz") for file in (job / "maps").glob("*.nii.gz")}
    begun = len(maps - {Path(name).stem for name in before})
    second = submitted(lines["sbatch"], place)
    wait_until(lambda: ended(second), 1200, "the job does not end")
    again = [name for name, changed in before.items() if (rows / name).stat().st_mtime_ns != changed]
    table = gequi.collect_registration(job)
    print(f"registration: {len(running)} workers, one killed; {len(before)} of {pairs} pairs were done then, {begun} were "
          f"lost, {len(again)} registered again; table of {len(table)} rows, {sum(r['condition'] is None for r in table)} "
          f"without an error", flush=True)  # fmt: skip
    if begun > 1 or again or len(table) != pairs:
        sys.exit("a pair was lost, or registered twice")


def training(place: Path) -> None:
    layers = [{"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "batch_norm"}, {"layer": "relu"},
              {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 2}]  # fmt: skip

    def network():
        return gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", layers, seed=1)

    x, y = np.random.default_rng(1).normal(size=(40, 1, 9, 9)), np.arange(40) % 2
    options = {"epochs": 3, "batch_size": 10, "seed": 5}
    job = place / "training"
    lines = gequi.prepare_job(job, network(), x, y, devices=2, **options)
    script = place / "train.sh"
    script.write_text(f"#!/bin/sh\n#SBATCH --nodes 1 --ntasks 2 --output {place}/train.out\n{lines['srun']}\n")
    number = said("sbatch", "--parsable", str(script))
    wait_until(lambda: ended(number), 600, "the training does not end")
    trained, alone = network(), network()
    gequi.collect_job(job, trained)
    gequi.fit(alone, x, y, devices=2, **options)
    pairs = zip(gequi.get_weights(trained).items(), gequi.get_weights(alone).items(), strict=True)
    largest = max(float(abs(one - other).max()) for (_, one), (_, other) in pairs)
    print(f"training: two tasks of srun; largest difference of the weights from fit(devices = 2): {largest:.1e}")
    if largest > 1e-6:
        sys.exit("the weights differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24)
    chosen = parser.parse_args()
    package = str(Path(gequi.__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)):
        registrations(Path(folder), chosen.pairs)
        training(Path(folder))


if __name__ == "__main__":
    main()
