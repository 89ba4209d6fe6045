#!/usr/bin/env python3
"""A job goes on while the coordinator is away; afterwards its records are complete."""

import glob
import os
import time

import harness
from harness import check

# A rank that also prints numbered lines: what has to arrive complete, in order, once.
RANK = """#!/bin/sh
(i=0; while [ $i -lt {lines} ]; do i=$((i + 1)); echo "line $i"; sleep 0.05; done) &
exec "{muster}" "$@"
"""


def metrics_bytes(cluster, job):
    """What rank 0 has written of its metrics, whether or not it has been sent."""
    return max(os.path.getsize(path) for path in
               glob.glob(cluster.path("workers", "*", "ranks", f"{job}-1-0", "metrics")))


def steps_for(cluster, path, seconds):
    """How many steps fill the time, measured."""
    job = cluster.submit(path, "supervised.steps=10000000")
    cluster.wait_for_steps(job, 1)
    begin, first = time.monotonic(), cluster.show(job)["steps_done"]
    shown = cluster.wait_for_steps(job, first + 200)
    rate = (shown["steps_done"] - first) / (time.monotonic() - begin)
    cluster.call("cancel", job).ok()
    return int(rate * seconds)


def stay_away(cluster, job, seconds, pids):
    """Watches the ranks work on without a coordinator."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = metrics_bytes(cluster, job)
        harness.wait_until("the job goes on without a coordinator",
                           lambda: metrics_bytes(cluster, job) > before, 5, 0.5)
        check(all(harness.alive(pid) for pid in pids), "a rank ended while nobody was there")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=2) as cluster:
        data = harness.write_data(f"{cluster.directory}/data")
        path = harness.write_job(f"{cluster.directory}/outage.toml", data, "slow", ranks=2,
                                 batch=64, every_steps=20)
        rank = f"{cluster.directory}/rank"
        lines = int((arguments.away + 2) * 10)
        with open(rank, "w", encoding="utf-8") as file:
            file.write(RANK.format(lines=lines, muster=cluster.muster))
        os.chmod(rank, 0o755)
        coordinator = cluster.start_coordinator()
        for number in range(2):
            cluster.start_worker(number, "--rank-executable", rank)
        cluster.wait_for_nodes(2)
        steps = steps_for(cluster, path, arguments.away * 1.3 + 8)
        stopwatch.lap(f"a job of {steps} steps fits")

        job = cluster.submit(path, f"supervised.steps={steps}")
        before = cluster.wait_for_steps(job, 30)
        pids = [rank["pid"] for rank in before["ranks"]]
        check(cluster.kill_coordinator(), "no coordinator to kill")
        coordinator.wait()
        stay_away(cluster, job, arguments.away, pids)
        cluster.start_coordinator()
        back = cluster.wait_for(job, "is taken up again", lambda shown: shown["state"] == "RUNNING"
                                and shown["steps_done"] > before["steps_done"])
        check(back["attempt"] == 1, f"restarted instead of taken up: {back['reason']}")
        check([rank["pid"] for rank in back["ranks"]] == pids, "other processes than before")
        stopwatch.lap(f"away for {arguments.away:g} s, from step {before['steps_done']} to "
                      f"{back['steps_done']}")

        shown = cluster.result(job, 60 + 2 * arguments.away)
        check(shown["attempt"] == 1, f"the job needed {shown['attempt']} attempts")
        harness.final_digest(shown)
        harness.check_metrics(cluster.metrics(job), steps)
        for number in range(2):
            check_log(cluster, job, number, lines)
        stopwatch.lap(f"{steps} metrics rows and 2 x {lines} log lines are complete")


def check_log(cluster, job, rank, lines):
    printed = cluster.call("logs", job, "--rank", rank).ok().out.splitlines()
    counted = [int(line.split()[1]) for line in printed if line.startswith("line ")]
    check(counted == list(range(1, lines + 1)),
          f"rank {rank}: {len(counted)} of {lines} lines, {len(set(counted))} different, "
          f"in order: {counted == sorted(counted)}")


if __name__ == "__main__":
    harness.run(__doc__, test, [("--away", 8.0, "seconds without a coordinator")])
