#!/usr/bin/env python3
"""Asynchronous rollouts: the lag stays within its bound and the job ends, whatever befalls rollout
workers and learners; CartPole is still learnt; every place says that runs are not repeatable."""

import random
import signal

import harness
from harness import check
from rollout_workers import JOB, UPDATES, hurt, seen_workers

CARTPOLE = "examples/jobs/ppo_cartpole.toml"
SEEDS = 3


def settings(lag, workers, *more):
    return ("ppo.asynchronous=true", f"ppo.max_policy_lag={lag}", "ppo.vtrace=true",
            f"resources.rollout_workers={workers}", *more)


def rows_of(cluster, job):
    return [row.get("values", row) for row in cluster.metrics(job)]


def ended(cluster, job, lag, updates=UPDATES):
    """The metrics of a job that must have succeeded, and kept its bound at each update."""
    shown = cluster.result(job)
    check(shown["steps_done"] == updates, f"job {job}: {shown}")
    rows = rows_of(cluster, job)
    check(len(rows) == updates, f"job {job}: {len(rows)} rows")
    for row in rows:
        check(row["train/policy_lag"] <= row["train/policy_lag_max"] <= lag, f"job {job}: {row}")
    return rows


def refused(cluster, path, word, *sets):
    words = [part for one in sets for part in ("--set", one)]
    result = cluster.call("submit", path, *words)
    check(result.code == 2 and word in result.err and result.err.strip().count("\n") == 0,
          f"{sets}: {result}")


def told(cluster, job):
    """In the record, in `show` and in the log's first line."""
    shown = cluster.show(job)
    check("ppo.asynchronous" in shown["not_repeatable"], str(shown))
    check("no two runs have the same" in cluster.call("show", job).ok().out, "show does not say it")
    log = cluster.call("logs", job, "--rank", "0").ok().out
    check("no two runs of this job have the same bits" in log.splitlines()[0], log[:400])


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=3) as cluster:
        cluster.up()
        path = f"{cluster.directory}/asynchronous.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(JOB)
        refused(cluster, path, "max_policy_lag", *settings(0, 1))
        refused(cluster, path, "rollout_workers", *settings(1, 0))
        refused(cluster, "examples/jobs/vpg_cartpole.toml", "asynchronous", "vpg.asynchronous=true")
        # Undisturbed: most of it is brought by others.
        job = cluster.submit(path, *settings(2, 2))
        rows = ended(cluster, job, 2)
        told(cluster, job)
        check(seen_workers(cluster, job) == 2, "not 2 rollout workers")
        by_learner = sum(row["train/rollouts_by_learner"] for row in rows)
        check(by_learner < 4 * UPDATES / 2, f"{by_learner} rollouts by the learner itself")
        stopwatch.lap(f"the bound holds; {int(by_learner)} of {4 * UPDATES} rollouts by the learner")
        for how, every_s, name in ((signal.SIGKILL, 0.4, "killed"), (signal.SIGSTOP, 1.0, "hung")):
            job = cluster.submit(path, *settings(2, 2, "resources.ranks=1"))
            hits = hurt(cluster, job, random.Random(3), how, every_s)
            ended(cluster, job, 2)
            check(hits > 0, f"nobody was {name}")
            stopwatch.lap(f"the bound holds while {hits} rollout workers {name}")
        job = cluster.submit(path, *settings(3, 1, "resources.ranks=2"))
        cluster.wait_for_steps(job, 120)
        check(cluster.kill_ranks(job, random.Random(5).choice), "no learner to kill")
        ended(cluster, job, 3)
        check(cluster.show(job)["attempt"] == 2, "it did not resume")
        stopwatch.lap("a killed learner goes on")
        for seed in range(1, SEEDS + 1):
            job = cluster.submit(CARTPOLE, *settings(2, 2, f"seed={seed}"))
            shown = cluster.result(job)
            check(shown["last_metrics"]["evaluation/return"] >= 475, f"seed {seed}: {shown}")
        stopwatch.lap(f"CartPole is learnt, {SEEDS} seeds")


if __name__ == "__main__":
    harness.run(__doc__, test)
