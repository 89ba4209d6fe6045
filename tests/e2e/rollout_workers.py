#!/usr/bin/env python3
"""Rollout workers come and go, are killed and stopped: the policy ends in the same bits."""

import json
import os
import random
import signal
import time

import harness
from harness import check

JOB = """name = "ppo-rollouts"
lanes = 4
seed = 5

[checkpoint]
every_steps = 100

[resources]
threads_per_rank = 1

[ppo]
environment = "CartPole-v1"
total_steps = 1_638_400   # 400 updates
envs = 64
rollout_steps = 64
epochs = 2
learning_rate = 1e-3

[ppo.policy]
hidden = [32]

[ppo.wrappers]
normalize_observations = true
"""
UPDATES = 400


def submit(cluster, path, ranks, workers, lag):
    return cluster.submit(path, f"resources.ranks={ranks}", f"resources.rollout_workers={workers}",
                          f"ppo.max_policy_lag={lag}")


def ended(cluster, job):
    shown = cluster.result(job)
    check(shown["state"] == "SUCCEEDED" and shown["attempt"] == 1, f"job {job}: {shown}")
    check(shown["steps_done"] == shown["steps_total"] == UPDATES, f"job {job}: {shown}")
    harness.check_metrics(cluster.metrics(job), UPDATES)
    return harness.final_digest(shown)


def seen_workers(cluster, job):
    """The most rollout workers that an update had."""
    rows = [row.get("values", row) for row in cluster.metrics(job)]
    return max(row.get("train/rollout_workers", 0) for row in rows)


def pids(cluster, job):
    shown = cluster.show(job)
    return [worker["pid"] for worker in shown.get("rollout_workers", []) if worker.get("pid")]


def hurt(cluster, job, chooser, how, every_s):
    """Sends the signal to a rollout worker every now and then until the job ends; how often."""
    hits = 0
    while cluster.show(job)["state"] in ("QUEUED", "STARTING", "RUNNING"):
        there = pids(cluster, job)
        if there:
            try:
                os.kill(chooser.choice(there), how)
                hits += 1
            except ProcessLookupError:
                pass
        time.sleep(every_s if there else 0.05)
    return hits


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=4) as cluster:
        cluster.up()
        path = f"{cluster.directory}/rollouts.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(JOB)
        digests = {}
        for lag in (0, 2):
            digests[lag] = ended(cluster, submit(cluster, path, 1, 0, lag))
            for ranks, workers in ((1, 1), (1, 3), (2, 1)):
                job = submit(cluster, path, ranks, workers, lag)
                check(ended(cluster, job) == digests[lag],
                      f"lag {lag}, {ranks} ranks, {workers} rollout workers: other bits")
                check(seen_workers(cluster, job) == workers, f"not {workers} rollout workers")
            stopwatch.lap(f"lag {lag}: same bits with 0, 1 and 3 rollout workers")
        for lag in (0, 2):
            job = submit(cluster, path, 1, 3, lag)
            hits = hurt(cluster, job, random.Random(3), signal.SIGKILL, 0.4)
            check(ended(cluster, job) == digests[lag], "other bits after deaths")
            check(hits > 0, "nobody was killed")
            stopwatch.lap(f"lag {lag}: same bits while {hits} rollout workers were killed")
        digest = digests[0]
        job = submit(cluster, path, 1, 2, 0)
        hits = hurt(cluster, job, random.Random(4), signal.SIGSTOP, 1.0)
        check(ended(cluster, job) == digest, "other bits after rollout workers were stopped")
        check(hits > 0, "nobody was stopped")
        stopwatch.lap(f"same bits while {hits} rollout workers hung")
        # Killed learners resume, with new rollout workers.
        job = submit(cluster, path, 1, 2, 0)
        cluster.wait_for_steps(job, 120)
        check(cluster.kill_ranks(job, random.Random(5).choice), "no learner to kill")
        shown = cluster.result(job)
        check(shown["state"] == "SUCCEEDED" and harness.final_digest(shown) == digest, f"{shown}")
        stopwatch.lap("a killed learner goes on to the same bits")
        # A restarted coordinator knows of no rollout worker: it starts new ones, which find the ranks.
        job = cluster.submit(path, "resources.rollout_workers=1", "ppo.total_steps=8192000")
        cluster.wait_for_steps(job, 20)
        cluster.kill_coordinator()
        shown = cluster.result(job)
        check(shown["state"] == "SUCCEEDED" and shown["attempt"] == 1, f"{shown}")
        check(shown["last_metrics"]["train/rollout_workers"] == 1, f"{shown['last_metrics']}")
        stopwatch.lap("rollout workers find the ranks after the coordinator's death")
        result = cluster.call("submit", path, "--set", "resources.rollout_workers=1", "--set",
                              "resources.rollout_workers=5000")
        check(result.code == 2 and "rollout_workers" in result.err, str(result))
        free = json.loads(cluster.call("nodes", "--json").ok().out.splitlines()[0])
        check(free["state"] == "ready", f"{free}")


if __name__ == "__main__":
    harness.run(__doc__, test)
