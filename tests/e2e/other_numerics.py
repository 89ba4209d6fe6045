#!/usr/bin/env python3
"""Rollout workers of another numerics class: only where the job allows it, and the difference is
told."""

import harness
from harness import check
from rollout_workers import JOB, UPDATES, seen_workers

SLOWER = {"MUSTER_CPU": "avx2"}


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster) as cluster:
        cluster.start_coordinator()
        cluster.start_worker(0)
        cluster.wait_for_nodes(1)
        cluster.start("worker", "--number", 1, "--state", cluster.state, "--slots", 1,
                      environment=SLOWER)
        cluster.wait_for_nodes(2)
        nodes = cluster.call("nodes", "--json").objects()
        classes = {node["numerics_class"] for node in nodes}
        if len(classes) == 1:
            print("this processor has no instructions beyond avx2: one class")
            raise SystemExit(77)
        path = f"{cluster.directory}/numerics.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(JOB)
        # Both workers could be the learner's; the other one stands idle.
        job = cluster.submit(path, "resources.rollout_workers=1")
        cluster.result(job)
        check(seen_workers(cluster, job) == 0, "a rollout worker of another class")
        check(cluster.show(job)["not_repeatable"] == "", "it is repeatable")
        stopwatch.lap("none of another class by default")
        for more in ((), ("ppo.asynchronous=true", "ppo.max_policy_lag=2")):
            job = cluster.submit(path, "resources.rollout_workers=1",
                                 "ppo.rollout_numerics=\"any\"", *more)
            shown = cluster.result(job)
            check(shown["steps_done"] == UPDATES, f"{shown}")
            check("rollout_numerics" in shown["not_repeatable"], f"{shown}")
            check(seen_workers(cluster, job) == 1, "no rollout worker of another class")
            rows = [row.get("values", row) for row in cluster.metrics(job)]
            name = "train/behaviour_logprob_difference"
            apart = [row for row in rows if name in row]
            check(apart, "no difference is told")
            # f32 has the same bits with either instruction set; other builds, libraries and
            # processors may round otherwise.
            for row in apart:
                check(0 <= row[name] <= row[name + "_max"] < 1e-3, f"{row}")
            stopwatch.lap("one where the job allows it, and its difference is told")


if __name__ == "__main__":
    harness.run(__doc__, test)
