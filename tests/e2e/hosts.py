#!/usr/bin/env python3
"""Three hosts, made of network namespaces: workers join over TLS, a job over hosts has the bits of
a job on one, a host that is cut off or loses its power is replaced and may come back."""

import os
import shutil
import signal
import subprocess
import sys
import time

import harness
from harness import check

SUBNET = "10.213.77."
HOSTS = (1, 2, 3)


class Network:
    """A bridge in a namespace of its own, and hosts on it: each with a network, a name and shared
    memory of its own."""

    def __init__(self):
        self.tag = f"mu{os.getpid() % 100000}"
        self.bridge = f"{self.tag}sw"
        self.made = []

    @staticmethod
    def ip(*arguments):
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def name(self, host):
        return f"{self.tag}h{host}"

    def address(self, host):
        return f"{SUBNET}{host}"

    def make(self):
        self.ip("netns", "add", self.bridge)
        self.made.append(self.bridge)
        self.ip("-n", self.bridge, "link", "add", "br0", "type", "bridge")
        self.ip("-n", self.bridge, "link", "set", "br0", "up")
        for host in HOSTS:
            name = self.name(host)
            self.ip("netns", "add", name)
            self.made.append(name)
            self.ip("-n", name, "link", "set", "lo", "up")
            self.ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name",
                    f"p{host}", "netns", self.bridge)
            self.ip("-n", name, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            self.ip("-n", name, "link", "set", "eth0", "up")
            self.ip("-n", self.bridge, "link", "set", f"p{host}", "master", "br0")
            self.ip("-n", self.bridge, "link", "set", f"p{host}", "up")

    def cut(self, host):
        self.ip("-n", self.bridge, "link", "set", f"p{host}", "down")

    def mend(self, host):
        self.ip("-n", self.bridge, "link", "set", f"p{host}", "up")

    def processes(self, host):
        out = subprocess.run(["ip", "netns", "pids", self.name(host)], capture_output=True,
                             text=True, check=False).stdout
        return [int(pid) for pid in out.split()]

    def inside(self, host):
        """The words before a command that put it on the host."""
        script = ('mount -t tmpfs -o mode=1777 tmpfs /dev/shm && hostname "$0" && exec "$@"')
        return ["ip", "netns", "exec", self.name(host), "unshare", "--mount", "--uts", "sh", "-c",
                script, f"host-{host}"]

    def close(self):
        for name in reversed(self.made):
            for host in HOSTS:
                if name == self.name(host):
                    for pid in self.processes(host):
                        harness.send(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class Room:
    """The cluster on these hosts; commands run on host 2."""

    def __init__(self, cluster, network):
        self.cluster, self.network = cluster, network
        self.ca = f"{cluster.directory}/coordinator/tls/authority.pem"
        self.token = f"{cluster.directory}/coordinator/user.token"
        self.address = f"{network.address(1)}:7420"

    def state(self, host):
        return f"{self.cluster.directory}/host-{host}"

    def call_on(self, host, *arguments, seconds=60):
        words = [*self.network.inside(host), self.cluster.muster, *map(str, arguments)]
        environment = {key: value for key, value in self.cluster.environment.items()
                       if key != "MUSTER_STATE"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds,
                              env=environment, stdin=subprocess.DEVNULL, check=False)
        return harness.Result([str(a) for a in arguments], done.returncode, done.stdout,
                              done.stderr)

    def call(self, *arguments, **more):
        return self.call_on(2, *arguments, "--address", self.address, "--ca", self.ca,
                            "--token-file", self.token, **more)

    def start_on(self, host, *arguments):
        log = open(f"{self.cluster.directory}/host-{host}.log", "ab")
        child = subprocess.Popen([*self.network.inside(host), self.cluster.muster,
                                  *map(str, arguments)], stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL, env=self.cluster.environment,
                                 start_new_session=True)
        log.close()
        self.cluster.children.append(child)
        return child

    def start_coordinator(self):
        state = f"{self.cluster.directory}/coordinator"
        if not os.path.exists(self.ca):
            self.call_on(1, "tls", "init", "--state", state, "--host",
                         self.network.address(1)).ok()
        self.start_on(1, "coordinator", "--state", state, "--listen", "0.0.0.0:7420")
        harness.wait_until("the coordinator answers", lambda: self.call("ps").code == 0)

    def join(self, host):
        token = f"{self.cluster.directory}/join-{host}.token"
        made = self.call("join-token").ok().out
        with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(made)
        joined = self.call_on(host, "worker", "join", "--state", self.state(host), "--coordinator",
                              self.address, "--token", token)
        joined.ok()
        return token

    def start_worker(self, host):
        self.start_on(host, "worker", "--state", self.state(host), "--cores", 1)

    def ready(self, count):
        def look():
            nodes = self.call("nodes", "--json")
            return nodes.code == 0 and count == sum(
                node["state"] == "ready" for node in nodes.objects())
        harness.wait_until(f"{count} workers are ready", look)

    def show(self, job):
        shown = self.call("show", job, "--json")
        return shown.object() if shown.code == 0 else None

    def submit(self, path, *sets):
        return int(self.call("submit", path, *[w for s in sets for w in ("--set", s)]).ok().out)

    def running(self, job, steps):
        return harness.wait_until(
            f"job {job} has done {steps} steps",
            lambda: (lambda s: s if s and s["state"] == "RUNNING" and s["steps_done"] >= steps
                     else None)(self.show(job)), 90)

    def result(self, job, seconds=120):
        shown = harness.wait_until(f"job {job} has ended", lambda: (
            lambda s: s if s and s["state"] in harness.ENDED else None)(self.show(job)), seconds)
        check(shown["state"] == "SUCCEEDED", f"job {job}: {shown['state']} {shown['reason']}")
        return shown


def refusals(room, token):
    again = room.call_on(3, "worker", "join", "--state", room.state("x"), "--coordinator",
                         room.address, "--token", token)
    check(again.code == 4 and "was used" in again.err, f"a token twice: {again}")
    other = room.call_on(2, "tls", "init", "--state", f"{room.cluster.directory}/other")
    other.ok()
    wrong = room.call_on(2, "ps", "--address", room.address, "--token-file", room.token, "--ca",
                         f"{room.cluster.directory}/other/tls/authority.pem")
    check(wrong.code == 3, f"a wrong authority: {wrong}")
    none = room.call_on(2, "ps", "--address", room.address, "--token-file", room.token)
    check(none.code == 2 and "--ca" in none.err, f"no authority: {none}")


def test(arguments, stopwatch):
    missing = [] if os.geteuid() == 0 else ["root"]
    missing += [tool for tool in ("ip", "unshare", "mount") if not shutil.which(tool)]
    if missing:
        print(f"skipped: needs {', '.join(missing)}")
        sys.exit(77)
    network = Network()
    try:
        try:
            network.make()
        except OSError as error:
            print(f"skipped: no network namespaces here: {error}")
            sys.exit(77)
        with harness.Cluster(arguments.muster) as cluster:
            try:
                in_room(Room(cluster, network), stopwatch)
            except BaseException:
                for host in HOSTS:
                    path = f"{cluster.directory}/host-{host}.log"
                    if os.path.exists(path):
                        with open(path, encoding="utf-8", errors="replace") as log:
                            print(f"---- host {host}", log.read()[-4000:], file=sys.stderr)
                raise
    finally:
        network.close()


def in_room(room, stopwatch):
    network = room.network
    data = harness.write_data(f"{room.cluster.directory}/data")
    path = harness.write_job(f"{room.cluster.directory}/hosts.toml", data, model="slow", steps=60,
                             ranks=2, lanes=4)
    room.start_coordinator()
    for host in HOSTS:
        token = room.join(host)
        room.start_worker(host)
    room.ready(3)
    stopwatch.lap("three hosts have joined over TLS")
    refusals(room, token)
    stopwatch.lap("a token twice, a wrong authority, none: refused")
    room.join(3)
    harness.wait_until("the agent with the certificate of before is out", lambda: any(
        node["worker"] == "host-3-0" and node["state"] != "ready"
        for node in room.call("nodes", "--json").objects()))
    for pid in network.processes(3):
        harness.send(pid, signal.SIGKILL)
    room.start_worker(3)
    room.ready(3)
    stopwatch.lap("a host that joins again takes its name over")

    one = harness.final_digest(room.result(room.submit(path, "resources.ranks=1")))
    shown = room.result(room.submit(path))
    hosts = {rank["worker"] for rank in shown["ranks"]}
    check(len(hosts) == 2, f"two ranks on {hosts}")
    check(harness.final_digest(shown) == one, "two hosts have other bits than one")
    stopwatch.lap(f"on {', '.join(sorted(hosts))}: the bits of one host")

    for what, harm, repair in (("cut off", network.cut, network.mend), ("without power", None, None)):
        # Another job holds the coordinator's host until this one has begun on the other two.
        blocker = room.submit(path, "supervised.steps=1000000", "resources.ranks=1")
        room.running(blocker, 1)
        job = room.submit(path, "supervised.steps=100")
        shown = room.running(job, 12)
        check({rank["worker"] for rank in shown["ranks"]} == {"host-2-0", "host-3-0"},
              f"the job runs on {shown['ranks']}")
        room.call("cancel", blocker, "--wait").ok()
        if harm:
            harm(3)
        else:
            for pid in network.processes(3):
                harness.send(pid, signal.SIGKILL)
        done = room.result(job)
        check(done["attempt"] >= 2, f"the job outlived host 3 in attempt {done['attempt']}")
        check({rank["worker"] for rank in done["ranks"]} == {"host-1-0", "host-2-0"},
              f"the job ran again on {done['ranks']}")
        long_digest = harness.final_digest(done)
        if repair:
            repair(3)
        else:
            room.start_worker(3)
        room.ready(3)
        again = room.result(room.submit(path, "supervised.steps=100", "resources.ranks=1"))
        check(harness.final_digest(again) == long_digest, f"host 3 {what}: other bits")
        stopwatch.lap(f"host 3 {what}: its job went on elsewhere with the same bits; it is back")


if __name__ == "__main__":
    harness.run(__doc__, test)
