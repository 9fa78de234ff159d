"""Several hosts on one machine: network namespaces, joined by a bridge. Needs root and iproute2 (Linux).

    python benchmarks/hosts.py [--rate 200mbit]

trains across four hosts over links of that rate, and shows what stages 2 and 3, with prefetch and with
overlap, take for a step. tests/test_hosts.py counts the bytes on the wire.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

ROOT = Path(__file__).parent.parent
SSH = """#!/bin/sh
# Stands in for ssh: `ssh [options] HOST COMMAND` runs COMMAND in the network namespace HOST.
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec ip netns exec $host unshare --uts sh -c 'hostname "$0"; exec sh -c "$1"' $host "$*"
"""


def missing() -> str | None:
    """What this machine lacks for hosts of its own; None if nothing."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "needs root on Linux"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "needs iproute2 (ip and tc)"
    try:
        Hosts(1).close()
    except subprocess.CalledProcessError:
        return "may not make network namespaces here"
    return None


def sh(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


class Hosts:
    """`number` hosts with one network interface each, on `switches` switches. Use as a context manager.

    Neighbours share a switch, as ranks do a machine; of several switches each has a wire to the next.
    """

    def __init__(self, number: int, switches: int = 1) -> None:
        self.prefix = f"zr{os.getpid()}s{switches}"
        self.names = [f"{self.prefix}h{i}" for i in range(number)]
        self.switch = f"{self.prefix}s"
        self.folder = Path(tempfile.mkdtemp(prefix="zero_ref_hosts_"))
        self.ssh = self.folder / "ssh"
        self.ssh.write_text(SSH)
        self.ssh.chmod(0o755)
        table = "127.0.0.1 localhost\n" + "".join(
            f"10.77.0.{i + 1} {name}\n" for i, name in enumerate(self.names)
        )
        try:
            sh(f"ip netns add {self.switch}")
            for n in range(switches):
                sh(f"ip -n {self.switch} link add br{n} type bridge")
                sh(f"ip -n {self.switch} link set br{n} up")
            for n in range(switches - 1):
                sh(f"ip -n {self.switch} link add up{n} type veth peer name down{n}")
                for end, switch in ((f"up{n}", n), (f"down{n}", n + 1)):
                    sh(f"ip -n {self.switch} link set {end} master br{switch}")
                    sh(f"ip -n {self.switch} link set {end} up")
            for i, name in enumerate(self.names):
                sh(f"ip netns add {name}")
                sh(f"ip link add name eth0 netns {name} type veth peer name p{i} netns {self.switch}")
                sh(f"ip -n {name} addr add 10.77.0.{i + 1}/24 dev eth0")
                sh(f"ip -n {name} link set eth0 up; ip -n {name} link set lo up")
                sh(f"ip -n {self.switch} link set p{i} master br{i * switches // number}")
                sh(f"ip -n {self.switch} link set p{i} up")
                etc = Path("/etc/netns") / name
                etc.mkdir(parents=True)
                (etc / "hosts").write_text(table)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Hosts":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End whatever still runs there, and take everything away."""
        for name in [*self.names, self.switch]:
            subprocess.run(f"ip netns pids {name} | xargs -r kill -9", shell=True, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def shape(self, rate: str) -> None:
        """Limit what each host sends to `rate`, in the words of tc: 200mbit."""
        limit = f"tbf rate {rate} burst 64kb latency 400ms"
        for name in self.names:
            sh(f"ip netns exec {name} tc qdisc replace dev eth0 root {limit}")

    def sent(self) -> list[int]:
        """Bytes that each host has put on its wire so far."""
        counter = "/sys/class/net/eth0/statistics/tx_bytes"
        return [int(sh(f"ip netns exec {name} cat {counter}")) for name in self.names]

    def between(self) -> int:
        """Bytes that have gone from the first switch to the second so far, and back."""
        counters = "/sys/class/net/up0/statistics/[rt]x_bytes"
        return sum(map(int, sh(f"ip netns exec {self.switch} sh -c 'cat {counters}'").split()))

    def train(self, *options: str, limit: float = 300) -> dict:
        """The run record of zero_ref.train, one rank on each host, started on the first."""
        record = self.folder / "record.json"
        command = ["ip", "netns", "exec", self.names[0], "mpirun", "-hosts", ",".join(self.names)]
        command += ["-n", str(len(self.names)), sys.executable, "-m", "zero_ref.train", "--quiet"]
        # Without UCX_TLS, MPICH sees that all hosts are one machine, and talks through its memory.
        own = {"HYDRA_LAUNCHER": "ssh", "HYDRA_LAUNCHER_EXEC": str(self.ssh), "UCX_TLS": "tcp,self"}
        own |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--record", str(record), *options],
            env={**os.environ, **own},
            cwd=ROOT,
            timeout=limit,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return json.loads(record.read_text())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rate", default="200mbit", help="of each host's link (default 200mbit)")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--batch-size", type=int, default=256, help="more samples, more to compute (default 256)")
    o = p.parse_args()
    if lacks := missing():
        sys.exit(lacks)
    model = ["--data", "synthetic", "--features", "256", "--hidden", "512,512,512", "--steps", "6"]
    model += ["--samples", str(5 * o.batch_size), "--batch-size", str(o.batch_size)]
    words = ("2", "2 --overlap", "3", "3 --prefetch", "3 --overlap", "3 --keep-after-forward")
    kinds = {kind: ["--stage", *kind.split(), "--reduce", "ordered"] for kind in words}
    found: dict[str, list[dict]] = {kind: [] for kind in kinds}
    with Hosts(4) as hosts:
        hosts.shape(o.rate)
        for _ in range(o.rounds):
            for kind, options in kinds.items():
                found[kind].append(hosts.train(*model, *options))
    lines = []
    for kind, records in found.items():
        times = [1e3 * record["seconds_per_step"] for record in records]
        ratios = [time / (1e3 * two["seconds_per_step"]) for time, two in zip(times, found["2"])]
        lines.append([kind, sorted(times)[len(times) // 2], sorted(ratios)[len(ratios) // 2]])
    print(tabulate(lines, ["stage", "ms per step", "over stage 2"], floatfmt=("", ".0f", ".2f")))


if __name__ == "__main__":
    main()
