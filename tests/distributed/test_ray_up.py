"""The cluster files at work, on hosts made for the purpose: `ray up`, `ray job submit`, `ray down`, and a batch job.

Three hosts with an sshd each live in namespaces of the kernel: their networks and processes are their own, so that
`ray stop` on one of them ends the Ray of none other, and nothing of this outlives the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

from gammasky.distributed.campaign import read_rows

CHECKOUT = Path(__file__).parents[2]
HEAD, WORKERS = 2, (3, 4)
DASHBOARD = "http://127.0.0.1:8265"
TOOLS = ("sshd", "ssh", "ssh-keygen", "rsync", "ip", "nc", "unshare", "nsenter", "bash")
OWN_SPACES = ("unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")

ENSEMBLE = """
name = "tiny"
model = "model.toml"
data = "sky"
[axes]
mask = ["spot", "none"]
[fit]
method = "svi"
emulator = false
guide = "diagonal"
steps = 60
particles = 2
learning_rate = 0.05
"""

SSHD = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
ListenAddress 10.77.0.{number}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
SetEnv RAY_TMPDIR={folder}/tmp RAY_USAGE_STATS_ENABLED=0
"""


def lacking() -> str | None:
    """Why there can be no hosts here; None if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux, and root"
    for tool in TOOLS:
        if not shutil.which(tool, path=search()):
            return f"needs {tool}"
    if not all(map(find_spec, ("aiohttp", "aiohttp_cors", "opencensus"))):
        return "needs ray[default]"
    if subprocess.run([*OWN_SPACES, "ip", "link", "add", "name", "a0", "type", "veth"], capture_output=True).returncode:
        return "needs the right to make namespaces and networks"
    return None


def search() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


#: In the place of Slurm's: a step on the first node runs here, one on the others on a worker, by ssh.
SRUN = """#!/bin/bash
elsewhere=
while [[ $1 == --* ]]; do [[ $1 != --exclude=* ]] || elsewhere=yes; shift; done
[ $elsewhere ] || exec "$@"
exec ssh -i {folder}/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@10.77.0.{worker} \\
    "PATH=$PATH $(export -p | grep -o 'RAY_[a-zA-Z_]*="[^"]*"' | grep -v TMPDIR | tr '\n' ' ') $*"
"""


@dataclass(frozen=True)
class Hosts:
    """Three hosts, and commands on this one that see their network."""

    folder: Path
    inside: int  # process 1 of the namespaces

    def command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        left_out = ("RAY_", "PYTEST_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        environment |= {"HOME": f"{self.folder}/1", "PATH": f"{self.folder}/1/gammasky-env/bin{os.pathsep}{search()}"}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_UP_enable_autoscaler_v2": "0"}
        environment |= {"RAY_TMPDIR": f"{self.folder}/tmp", "RAY_USAGE_STATS_ENABLED": "0"}
        environment |= {"TMPDIR": f"{self.folder}/tmp"}
        return ["nsenter", f"--target={self.inside}", "--net", "--pid", "--mount", *words], environment

    def run(self, *words: str, seconds: float = 240.0) -> str:
        command, environment = self.command(*words)
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds
        )
        assert done.returncode == 0, f"{words}: {done.stdout}"
        return done.stdout

    def raylets(self) -> int:
        found = self.run("sh", "-c", "grep -lsz raylet/raylet$ /proc/[0-9]*/cmdline | wc -l")
        return int(found)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if reason := lacking():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="gs", dir="/tmp"))  # names of sockets must be short
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "tmp").mkdir()
    for number in (1, HEAD, *WORKERS):
        home_of(folder, number)
    script = [str(Path(__file__).with_name("ray_hosts.sh")), str(folder), *map(str, (HEAD, *WORKERS))]
    log = folder / "hosts.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*OWN_SPACES, "bash", *script],
            env={**os.environ, "PATH": search()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n", log.read_text()
        inside = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        yield Hosts(folder, int(inside))
    finally:
        process.kill()  # and with it all that was started in these namespaces
        process.communicate()
        name = sha256(folder.name.encode()).hexdigest()[:10]
        for left in (folder, *Path("/tmp").glob(f"ray_ssh_*/{name}")):  # sockets of `ray up` for its cluster
            shutil.rmtree(left)


def home_of(folder: Path, number: int) -> None:
    """The home of a user who has `ray` and `gammasky` where local.yaml installs them."""
    tools = folder / str(number) / "gammasky-env" / "bin"
    tools.mkdir(parents=True)
    (folder / str(number) / "tmp").mkdir()
    for name, code in (("ray", "from ray.scripts.scripts import main"), ("gammasky", "from gammasky.cli import main")):
        path = tools / name
        path.write_text(f"#!{sys.executable}\nimport sys\n{code}\nsys.exit(main())\n")
        path.chmod(0o755)
    (folder / str(number) / ".bashrc").touch()
    (folder / str(number) / "sshd_config").write_text(SSHD.format(folder=folder, number=number))


def cluster_file(hosts: Hosts) -> str:
    """The example, for these hosts: nothing is installed, and members run on the workers alone, one on each."""
    text = (CHECKOUT / "examples" / "cluster" / "local.yaml").read_text()
    for old, new in (
        ("cluster_name: gammasky", f"cluster_name: {hosts.folder.name}"),
        ("HEAD_HOST", f"10.77.0.{HEAD}"),
        ("WORKER_1_HOST", f"10.77.0.{WORKERS[0]}"),
        ("WORKER_2_HOST", f"10.77.0.{WORKERS[1]}"),
        ("SSH_USER", "root"),
        ("~/.ssh/id_ed25519", f"{hosts.folder}/key"),
        ("~/wheels: dist", f"~/wheels: {hosts.folder}/dist"),
        ("- test -x ~/gammasky-env/bin/pip", "- true"),
        ("- ~/gammasky-env/bin/pip install", "- true"),
        ("ray start --head", "ray start --head --num-cpus=0"),
        ("ray start --address", "ray start --num-cpus=1 --address"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (hosts.folder / "dist").mkdir()
    path = hosts.folder / "local.yaml"
    path.write_text(text)
    return str(path)


def shared_folder(hosts: Hosts, tiny_files: Path) -> Path:
    """What all hosts see: the files of an ensemble of two small fits."""
    shared = hosts.folder / "shared"
    shutil.copytree(tiny_files, shared)
    (shared / "ensemble.toml").write_text(ENSEMBLE)
    return shared


def wait_for(what: str, condition: object, seconds: float) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)


@pytest.mark.slow
def test_from_ray_up_to_ray_down(hosts: Hosts, tiny_files: Path) -> None:
    shared = shared_folder(hosts, tiny_files)
    cluster = cluster_file(hosts)
    hosts.run("ray", "get-auth-token", "--generate")
    hosts.run("ray", "up", "-y", cluster)
    wait_for("two workers", lambda: hosts.raylets() == 3, 120)

    command, environment = hosts.command("ray", "dashboard", cluster)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as forward:
        try:
            wait_for("the dashboard", lambda: "ok" in hosts.run("sh", "-c", "nc -z 127.0.0.1 8265 && echo ok || :"), 30)
            submit = ("ray", "job", "submit", "--address", DASHBOARD, "--", "gammasky", "campaign")
            out = str(shared / "campaign")
            said = hosts.run(*submit, "run", str(shared / "ensemble.toml"), "--out", out)
            assert "2 of 2 members done, 2 of them now" in said
            assert len(read_rows(shared / "campaign")) == 2
            said = hosts.run(*submit, "resume", out)
            assert "2 of 2 members done, 0 of them now" in said
        finally:
            forward.kill()
    hosts.run("ray", "down", "-y", cluster)
    wait_for("the end of Ray", lambda: hosts.raylets() == 0, 120)


@pytest.mark.slow
def test_the_batch_script(hosts: Hosts, tiny_files: Path) -> None:
    """On two nodes: the campaign, and once more with nothing left to do. In the end neither Ray nor token are left."""
    shared = shared_folder(hosts, tiny_files)
    srun = hosts.folder / "1" / "gammasky-env" / "bin" / "srun"
    srun.write_text(SRUN.format(folder=hosts.folder, worker=WORKERS[0]))
    srun.chmod(0o755)
    job = hosts.inside
    slurm = (f"SLURM_JOB_ID={job}", "SLURM_JOB_NUM_NODES=2", "SLURM_CPUS_PER_TASK=1")
    script = str(CHECKOUT / "examples" / "cluster" / "slurm.sbatch")
    try:
        for fitted in (2, 0):
            words = (script, str(shared / "ensemble.toml"), str(shared / "campaign"))
            said = hosts.run("env", *slurm, "bash", *words)
            assert f"2 of 2 members done, {fitted} of them now" in said
            wait_for("the end of Ray", lambda: hosts.raylets() == 0, 120)
    finally:
        shutil.rmtree(f"/tmp/ray-{job}", ignore_errors=True)
    assert len(read_rows(shared / "campaign")) == 2
    assert list((hosts.folder / "1").glob(".gammasky-token*")) == []
