#!/usr/bin/env python3
"""A job ends in the same bits on any ranks, transport and threads, and after any kill -9."""

import random
import time

import harness
from harness import check


def undisturbed(cluster, data, stopwatch):
    """The digest of each model, which all layouts must share."""
    digests = {}
    for model in ("mlp", "cnn"):
        path = harness.write_job(f"{cluster.directory}/{model}.toml", data, model)
        layouts = [(1, "auto", 1), (1, "auto", 2)]
        layouts += [(ranks, transport, threads) for ranks in (2, 4)
                    for transport in ("shm", "gloo") for threads in (1, 2)]
        found = {}
        for ranks, transport, threads in layouts:
            job = cluster.submit(path, f"resources.ranks={ranks}",
                                 f"resources.collectives=\"{transport}\"",
                                 f"resources.threads_per_rank={threads}")
            shown = cluster.result(job)
            check(shown["attempt"] == 1, f"job {job} needed {shown['attempt']} attempts")
            check(len(shown["ranks"]) == ranks, f"job {job} ran on {len(shown['ranks'])} ranks")
            found[ranks, transport, threads] = harness.final_digest(shown)
        check(len(set(found.values())) == 1, f"{model}: digests differ: {found}")
        digests[model] = found[1, "auto", 1]
        stopwatch.lap(f"{model}: {len(layouts)} layouts, one digest {digests[model][:12]}")
    return digests


def sharded(cluster, data, stopwatch):
    """ZeRO: what is sharded, and over which ranks, is not in the digest."""
    path = harness.write_job(f"{cluster.directory}/wide.toml", data, "wide", lanes=8)
    found = {}
    for stage, ranks, transport in ((0, 1, "auto"), (1, 2, "shm"), (1, 4, "gloo"), (2, 1, "auto"),
                                    (2, 2, "gloo"), (2, 4, "shm")):
        job = cluster.submit(path, f"supervised.optimizer.zero_stage={stage}",
                             f"resources.ranks={ranks}",
                             f"resources.collectives=\"{transport}\"")
        found[stage, ranks, transport] = harness.final_digest(cluster.result(job))
    check(len(set(found.values())) == 1, f"sharded: digests differ: {found}")
    stopwatch.lap(f"ZeRO 0, 1 and 2: {len(found)} layouts, one digest")


def kill_once(cluster, job, what, chooser):
    """Kills in the middle of the job; what was hit."""
    hit = []
    if what in ("rank", "all") and cluster.kill_ranks(job, chooser.choice):
        hit.append("rank")
    if what in ("agent", "all"):
        number = chooser.randrange(cluster.workers)
        shown = cluster.try_show(job) if what == "agent" else None
        if shown:  # One that carries a rank.
            number = int(chooser.choice(shown["ranks"])["worker"].rsplit("-", 1)[1])
        if cluster.kill_worker(number):
            hit.append("agent")
    if what in ("coordinator", "all") and cluster.kill_coordinator():
        hit.append("coordinator")
    return hit


def killed(cluster, path, what, turn, chooser):
    """Runs the job on 2 or 4 ranks with a kill at a step or after a time; its last show."""
    for _ in range(5):
        job = cluster.submit(path, f"resources.ranks={2 + turn % 2 * 2}")
        goal = 1 + chooser.randrange(25) if turn % 4 < 2 else 1
        cluster.wait_for(job, f"has done {goal} steps", lambda shown, goal=goal: shown["state"] in
                         harness.ENDED or shown["steps_done"] >= goal)
        if turn % 4 >= 2:
            time.sleep(chooser.random() * 0.8)
        hit = kill_once(cluster, job, what, chooser)
        told_ms = time.time() * 1000
        shown = cluster.result(job)
        if hit and (shown["attempt"] > 1 or shown["ended_ms"] > told_ms + 300):
            break
        print(f"           job {job} was faster than the kill")
    check(hit, f"nothing to kill of five jobs, the last {job}")
    if "rank" in hit or what == "agent":
        check(shown["attempt"] > 1, f"job {job} lost {hit} but says it needed one attempt")
    if hit == ["coordinator"]:
        check(shown["attempt"] == 1, f"job {job} was restarted because the coordinator was away")
    harness.check_metrics(cluster.metrics(job), shown["steps_total"])
    return shown, hit


def ends_early(cluster, data, chooser, stopwatch):
    """A job with augmentation that ends early, undisturbed and killed on the way."""
    path = harness.write_job(f"{cluster.directory}/early.toml", data, "early", ranks=2, steps=500,
                             batch=256, evaluate_every=10)
    undisturbed = cluster.result(cluster.submit(path))
    digest = harness.final_digest(undisturbed)
    for turn in range(3):
        what = ("rank", "all", "rank")[turn]
        shown, hit = killed(cluster, path, what, turn, chooser) if turn else (undisturbed, [])
        check(shown["state"] == "SUCCEEDED", f"job {shown['id']} is {shown['state']}")
        check(shown["steps_done"] == shown["steps_total"] == 60,
              f"ended after step {shown['steps_done']} of {shown['steps_total']}, not 60")
        check("ended early after step 60 of 500" in shown["reason"], f"says {shown['reason']!r}")
        check(harness.final_digest(shown) == digest, f"digests differ after kill -9 of {hit}")
    stopwatch.lap(f"ended early after step 60, also after kill -9, {digest[:12]}")


def test(arguments, stopwatch):
    chooser = random.Random(arguments.seed)
    with harness.Cluster(arguments.muster, workers=2, slots=2) as cluster:
        data = harness.write_data(f"{cluster.directory}/data")
        cluster.up()
        stopwatch.lap("a cluster of 2 workers, 4 slots")
        undisturbed(cluster, data, stopwatch)
        sharded(cluster, data, stopwatch)
        path = harness.write_job(f"{cluster.directory}/slow.toml", data, "slow", ranks=2,
                                 batch=256)
        digest = harness.final_digest(cluster.result(cluster.submit(path)))
        stopwatch.lap(f"undisturbed, 2 ranks, {digest[:12]}")
        for turn in range(arguments.rounds):
            for what in ("rank", "agent", "coordinator", "all"):
                shown, hit = killed(cluster, path, what, turn, chooser)
                check(harness.final_digest(shown) == digest,
                      f"after kill -9 of {hit} job {shown['id']} ends in "
                      f"{harness.final_digest(shown)}, undisturbed in {digest}")
                stopwatch.lap(f"same bits after kill -9 of {' and '.join(hit)}, attempt "
                              f"{shown['attempt']}")
        ends_early(cluster, data, chooser, stopwatch)


if __name__ == "__main__":
    harness.run(__doc__, test, [("--seed", 1, "of the moments and victims"),
                                ("--rounds", 2, "of four kills")])
