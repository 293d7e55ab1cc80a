"""A Ray to run on: one that is running, or one started for this process alone."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gammasky.distributed.member import Resources
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.interrupt import noticed

ANSWER_SECONDS = 5.0  # that a cluster has to answer
_KIND = "accelerator_type:"  # begins the resource of a node that says what its GPUs are
NODE_TYPE = "ray.io/node-group"  # label of nodes that were started by `ray up`, KubeRay or their autoscaler

#: Without them a node that freezes, its connections open, is waited for without end.
_KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "5000", "RAY_grpc_client_keepalive_timeout_ms": "5000"}
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # and empty settings
_SETTINGS = 4  # type of the frame with which every HTTP/2 server begins, Ray's among them


@contextmanager
def connected(address: str, workers: int | None, *resources: Resources) -> Iterator[Any]:
    """The `ray` module, connected; what was started here is ended again.

    Args:
        address: "local", "auto" (the running cluster, else local), "ray://host:port" or "host:port".
        workers: members at once of a local Ray; None: as many as the cores allow.
        resources: of a member; of several kinds of members, those of each.

    Raises:
        InputError: no cluster answers there, or it is of another version; or a Ray of our own does not start.
    """
    place = (_running() or "local") if address == "auto" else address
    prepare(place)
    import ray

    if ray.is_initialized():
        if address != "auto":
            raise InputError(f"address: Ray is connected in this process already; expected 'auto', got '{address}'")
        yield ray
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Ray has no option for this: it prints whole logs of workers and nodes that are lost, into the table on the screen
    ray._private.worker._worker_logs_enabled = False
    try:
        if place == "local":
            _start(ray, workers, resources)
        else:
            _join(ray, place)
        _handle(before)
        yield ray
    except KeyboardInterrupt:
        noticed.set()  # to end a Ray takes some seconds
        raise
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True
        _handle(before)


def _handle(handlers: Mapping[signal.Signals, Any]) -> None:
    """Set the handlers of signals anew: Ray sets its own, which end the process as they see fit."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _running() -> str | None:
    """The address of a cluster that `ray start` has left for this machine or job; None where none answers.

    Ray's own "auto" also finds what another process started for itself alone, and takes away when it ends.
    """
    if asked := os.environ.get("RAY_ADDRESS"):
        return asked
    note = Path(os.environ.get("RAY_TMPDIR") or "/tmp") / "ray" / "ray_current_cluster"
    try:
        address = note.read_text(encoding="utf-8").strip()
    except OSError:  # none there, or another user's, who keeps it private
        return None
    return address if address and _answers(address) else None


def prepare(place: str) -> None:
    """Set what Ray reads from the environment when it is imported; nothing that is set already."""
    for name, value in _KEEPALIVE.items():
        os.environ.setdefault(name, value)
    if place != "local" or "ray" in sys.modules:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # no other user of this machine gets in


def _start(ray: Any, workers: int | None, resources: Sequence[Resources]) -> None:
    """Start a Ray of exactly so many slots, for this process alone.

    Raises:
        InputError: it does not start.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    slots = {of.cpus: workers or max(cores // of.cpus, 1) for of in resources}
    try:
        start(ray, num_cpus=max(cpus * number for cpus, number in slots.items()))
    except Exception as error:  # Ray's own have no class: a machine too busy for its time-outs, no room in /dev/shm
        line = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
        remedy = "try again, or do without Ray"
        if "AF_UNIX" in str(error):  # the names of its sockets, which may have 107 characters
            place = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
            line = f"its sockets in {place} have names that are too long"
            remedy = "set RAY_TMPDIR (or TMPDIR) to a folder with a short name, such as /tmp"
        raise InputError(f"address: Ray does not start on this machine: {line}; {remedy}") from error


def start(ray: Any, **options: Any) -> None:
    """Start a Ray that nobody reaches from another machine.

    Told an address of this machine alone, Ray takes the one that others see instead, and then all its servers listen on
    every interface: unless it takes the machine for one on which there are no clusters.
    """
    known = ray._private.ray_constants
    clusters, known.ENABLE_RAY_CLUSTER = known.ENABLE_RAY_CLUSTER, False
    with warnings.catch_warnings():
        # JAX warns of forks that go on in its own process; these run another program at once
        warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                **options,
            )
        finally:
            known.ENABLE_RAY_CLUSTER = clusters


def _join(ray: Any, address: str) -> None:
    where = address.removeprefix("ray://")
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"address: expected 'auto', 'local', 'host:port' or 'ray://host:port', got '{address}'")
    if not _answers(where):
        raise InputError(
            f"address: no Ray cluster answers at {address}; start one with `ray start --head` or `ray up`,"
            " or use `address='local'`"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, ImportError) as error:
        line = str(error).strip().partition("\n")[0]
        raise InputError(f"address: cannot join the Ray cluster at {address}: {line}") from error


def _answers(address: str) -> bool:
    """Whether a gRPC server is there: Ray would wait for minutes for one that is not."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with (
        suppress(OSError, ValueError),
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as there,
    ):
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
            return True
        there.settimeout(ANSWER_SECONDS)
        there.sendall(_PREFACE)
        frame = there.recv(9)
        return len(frame) == 9 and frame[3] == _SETTINGS
    return False


def room_on(nodes: list[dict[str, Any]], resources: Resources) -> int:
    """How many members the nodes that are alive hold at once."""
    need = {"CPU": float(resources.cpus), "GPU": resources.gpus, "memory": resources.memory_gb * 1e9}
    asked = {name: amount for name, amount in need.items() if amount > 0}

    def times(name: str, has: float) -> int:
        if name == "GPU" and resources.gpus < 1:  # a share lies on one device: of four with 0.3 each there are twelve
            return int(has) * int(1.0 / resources.gpus + 1e-9)
        return int(has / asked[name] + 1e-9)

    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if resources.accelerator:
        alive = [has for has in alive if _KIND + resources.accelerator in has]
    return sum(min(times(name, has.get(name, 0.0)) for name in asked) for has in alive)


def check_room(ray: Any, resources: Resources) -> None:
    """Refuse members that no node has room for.

    Where an autoscaler is at work it may start a larger node, and a warning says what is waited for.

    Raises:
        InputError: says what a member asks for, and what the largest nodes have.
    """
    nodes = ray.nodes()
    if room_on(nodes, resources):
        return
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    most = {name: max((has.get(name, 0.0) for has in alive), default=0.0) for name in ("CPU", "GPU", "memory")}
    kinds = sorted(name.removeprefix(_KIND) for has in alive for name in has if name.startswith(_KIND))
    if resources.accelerator and kinds and resources.accelerator not in kinds and not autoscaled(nodes):
        raise unknown_name("accelerator", resources.accelerator, dict.fromkeys(kinds))
    gpus = f"{resources.gpus:g} GPUs" + (f" ({resources.accelerator})" if resources.accelerator else "")
    ask = f"{resources.cpus} CPUs, {gpus} and {resources.memory_gb:g} GB"
    have = f"{most['CPU']:g} CPUs, {most['GPU']:g} GPUs and {most['memory'] / 1e9:.1f} GB"
    text = f"resources: a member asks for {ask}, but no node has that (at most {have})"
    if not autoscaled(nodes):
        raise InputError(f"{text}; ask for less, or add such a node")
    print(f"gammasky: warning: {text}; waiting for the autoscaler to start one", file=sys.stderr)


def autoscaled(nodes: list[dict[str, Any]]) -> bool:
    """Whether the cluster starts nodes by itself: its nodes are then of types that it was given.

    The second version of Ray's autoscaler labels each node with its type, the first one reports the types of all.
    """
    if any(node["Alive"] and NODE_TYPE in node["Labels"] for node in nodes):
        return True
    from ray.experimental.internal_kv import _internal_kv_get

    status = json.loads(_internal_kv_get("__autoscaling_status") or b"{}")
    types = (status.get("autoscaler_report") or {}).get("active_nodes") or {}
    return any(not name.startswith("node_") for name in types)
