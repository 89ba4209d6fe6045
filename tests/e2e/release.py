#!/usr/bin/env python3
"""Cancelled jobs leave no process, no shared memory and no listening port, whatever they do."""

import os
import random

import harness
from harness import check

JOB = "name = \"stubborn\"\nlanes = 2\n[resources]\nranks = 2\n[collective]\nsteps = 1000000\n"


def running(executable):
    """Processes of the executable, by what they run rather than by what they say."""
    found = []
    for pid in harness.processes():
        try:
            if os.readlink(f"/proc/{pid}/exe") == executable and harness.alive(pid):
                found.append(pid)
        except OSError:
            pass
    return found


def listening():
    """TCP ports that this user's processes listen on."""
    ports = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def ready(cluster, job):
    """Both ranks have done all that they do to survive."""
    return cluster.call("logs", job).out.count("ready") == 2


def test(arguments, stopwatch):
    chooser = random.Random(arguments.seed)
    executable = os.path.realpath(arguments.rank)
    check(os.access(executable, os.X_OK), f"{executable} cannot be run")
    with harness.Cluster(arguments.muster, workers=2, slots=4) as cluster:
        shared_before = set(os.listdir("/dev/shm"))
        others_before = set(running(executable))
        path = f"{cluster.directory}/stubborn.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(JOB)
        cluster.start_coordinator()
        for number in range(2):
            cluster.start_worker(number, "--rank-executable", executable)
        cluster.wait_for_nodes(2)
        try:
            jobs, most = cancel_all(cluster, path, arguments.jobs, chooser, executable)
            stopwatch.lap(f"{jobs} jobs cancelled, up to {most} processes at once")
            check(most >= 8, f"no more than {most} processes were seen: not much of a test")
            ports = {int(line.split()[-1]) for job in cluster.job_ids for line in
                     cluster.call("logs", job).ok().out.splitlines() if " port " in line}
            check(len(ports) > jobs / 4, f"only {len(ports)} ports were opened")
            harness.wait_until("all slots are free", lambda: not any(
                node["slots_used"] for node in cluster.call("nodes", "--json").objects()))
            left = set(running(executable)) - others_before
            check(not left, f"{len(left)} processes are left: {left}")
            shared = {name for name in set(os.listdir("/dev/shm")) - shared_before
                      if "stubborn" in name}
            check(not shared, f"shared memory is left: {shared}")
            check(not ports & listening(), f"ports are left: {ports & listening()}")
            stopwatch.lap(f"0 processes, 0 segments, 0 of {len(ports)} ports left")
        finally:
            for pid in set(running(executable)) - others_before:
                harness.send(pid, 9)


def cancel_all(cluster, path, count, chooser, executable):
    """Submits and cancels; half of the jobs once they are ready, half at any moment before."""
    most = 0
    for _ in range(count // 4):
        jobs = [cluster.submit(path) for _ in range(4)]
        for job in jobs:
            if chooser.random() < 0.5:
                harness.wait_until(f"job {job} is ready", lambda: ready(cluster, job))
            most = max(most, len(running(executable)))
            cluster.call("cancel", job).ok()
        for job in jobs:
            ended = cluster.call("wait", job)
            check(ended.code == 6, f"not cancelled: {ended}")
    return count // 4 * 4, most


if __name__ == "__main__":
    harness.run(__doc__, test, [("--jobs", 40, "that are cancelled"),
                                ("--rank", "build/release/tests/stubborn_rank", "executable"),
                                ("--seed", 1, "of the moments")])
