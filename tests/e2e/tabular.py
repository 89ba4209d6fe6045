#!/usr/bin/env python3
"""[tabular]: the examples find what the book says, with the same bits on any ranks and after kill -9;
what cannot be learnt is told when it is submitted."""

import random

import harness
from harness import check

EXAMPLES = "examples/jobs"


def examples(cluster):
    """Each example's last evaluation."""
    returns = {"value_iteration_frozen_lake": (0.72, 0.76), "policy_iteration_grid": (0.3, 0.9),
               "q_learning_cliff_walking": (-13, -13), "sarsa_cliff_walking": (-30, -14)}
    for name, (low, high) in returns.items():
        job = cluster.submit(f"{EXAMPLES}/{name}.toml")
        shown = cluster.result(job)
        got = cluster.metrics(job)[-1]["evaluation/return"]
        check(low <= got <= high, f"{name}: its policy earns {got}, not {low} to {high}")
        early = "iteration" in name
        check(early == ("has converged" in shown["reason"]), f"{name} says {shown['reason']!r}")
        harness.final_digest(shown)
    job = cluster.submit(f"{EXAMPLES}/bandit_ucb.toml")
    cluster.result(job)
    rows = cluster.metrics(job)
    harness.check_metrics(rows, 1000)
    best = sum(row["bandit/best_arm"] for row in rows[-100:]) / 100
    check(best > 0.75, f"the best arm is pulled in {best} of the last hundred steps")


def same_bits(cluster, chooser, stopwatch):
    path = f"{EXAMPLES}/q_learning_cliff_walking.toml"
    sets = ["tabular.steps=20000", "checkpoint.every_steps=1000", "lanes=2"]
    digest = harness.final_digest(cluster.result(cluster.submit(path, *sets)))
    sets.append("resources.ranks=2")
    check(harness.final_digest(cluster.result(cluster.submit(path, *sets))) == digest,
          "two ranks end in other bits than one")
    stopwatch.lap(f"1 and 2 ranks, one digest {digest[:12]}")
    for turn in range(3):
        job = cluster.submit(path, *sets)
        cluster.wait_for_steps(job, 1000 + 4000 * turn)
        hit = cluster.kill_ranks(job, chooser.choice if turn else None)
        shown = cluster.result(job)
        check(hit and shown["attempt"] > 1, f"job {job} was not killed")
        check(harness.final_digest(shown) == digest, f"job {job}: other bits after kill -9")
        harness.check_metrics(cluster.metrics(job), 20000)
    stopwatch.lap("the same after kill -9 of ranks, three times")


def refused(cluster, name, words, *sets):
    sets = [word for setting in sets for word in ("--set", setting)]
    result = cluster.call("submit", f"{EXAMPLES}/{name}.toml", *sets)
    check(result.code == 2 and all(word in result.err for word in words) and
          len(result.err.splitlines()) == 1, f"not told in one line, with {words}:\n{result}")


def mistakes(cluster):
    refused(cluster, "q_learning_cliff_walking", ["CliffWalkin-v1", "nearest", "CliffWalking-v1"],
            "tabular.environment=CliffWalkin-v1")
    refused(cluster, "q_learning_cliff_walking", ["CartPole-v1", "Box", "choices only"],
            "tabular.environment=CartPole-v1")
    refused(cluster, "q_learning_cliff_walking", ["unknown option slippery", "is_slippery"],
            "tabular.settings.slippery=true")
    refused(cluster, "policy_iteration_grid", ["exact model", "Blackjack-v1"],
            "tabular.environment=Blackjack-v1", "tabular.settings.penalty=")
    refused(cluster, "bandit_ucb", ["one state", "Taxi-v4"], "tabular.environment=Taxi-v4")
    refused(cluster, "bandit_ucb", ["lanes", "tabular.runs (200)"], "lanes=16")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster) as cluster:
        cluster.up()
        mistakes(cluster)
        stopwatch.lap("a cluster; mistakes are told at submission")
        examples(cluster)
        stopwatch.lap("the examples find what the book says")
        same_bits(cluster, random.Random(1), stopwatch)


if __name__ == "__main__":
    harness.run(__doc__, test)
