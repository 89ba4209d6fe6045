#!/usr/bin/env python3
"""A worker that was stopped for longer than the timeout commits nothing once it is replaced."""

import signal

import harness
from harness import check


def stop_worker(cluster, job, with_rank):
    """SIGSTOP of the agent that carries rank 0, which publishes, and of that rank."""
    rank = next(rank for rank in cluster.show(job)["ranks"] if rank["rank"] == 0)
    number = int(rank["worker"].rsplit("-", 1)[1])
    stopped = [cluster.worker_pid(number)] + ([rank["pid"]] if with_rank else [])
    for pid in stopped:
        check(harness.send(pid, signal.SIGSTOP), f"process {pid} has ended")
    return number, rank["pid"], stopped


def commits(shown):
    return {(checkpoint["step"], checkpoint["attempt"]) for checkpoint in shown["checkpoints"]}


def fenced(cluster, path, with_rank, at_step):
    job = cluster.submit(path)
    cluster.wait_for_steps(job, at_step)
    number, rank_pid, stopped = stop_worker(cluster, job, with_rank)
    try:
        replaced = cluster.wait_for(job, "runs elsewhere", lambda shown: shown["attempt"] == 2 and
                                    shown["state"] == "RUNNING", 30)
        workers = {rank["worker"] for rank in replaced["ranks"]}
        check(all(not worker.endswith(f"-{number}") for worker in workers),
              f"the replacement was placed on the stopped worker: {workers}")
        old = {commit for commit in commits(replaced) if commit[1] == 1}
    finally:
        for pid in stopped:
            harness.send(pid, signal.SIGCONT)
    harness.wait_until("the old rank ends", lambda: not harness.alive(rank_pid), 15)
    cluster.wait_for_nodes(3)
    shown = cluster.result(job)
    check(shown["attempt"] == 2, f"the job needed {shown['attempt']} attempts")
    late = {commit for commit in commits(shown) if commit[1] == 1} - old
    check(not late, f"checkpoints (step, attempt) {late} came after attempt 2 had started")
    harness.check_metrics(cluster.metrics(job), shown["steps_total"])
    return shown


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=3) as cluster:
        data = harness.write_data(f"{cluster.directory}/data")
        path = harness.write_job(f"{cluster.directory}/fenced.toml", data, "slow", ranks=2,
                                 steps=arguments.steps, batch=128, every_steps=5, keep_last=1000)
        cluster.start_coordinator()
        for number in range(3):
            cluster.start_worker(number)
        cluster.wait_for_nodes(3)
        digest = harness.final_digest(cluster.result(cluster.submit(path)))
        stopwatch.lap(f"undisturbed, {digest[:12]}")
        for with_rank, at_step in ((True, 12), (False, 3)):
            shown = fenced(cluster, path, with_rank, at_step)
            check(harness.final_digest(shown) == digest,
                  f"job {shown['id']} ends in {harness.final_digest(shown)}, undisturbed {digest}")
            stopped = "an agent and its rank" if with_rank else "an agent alone"
            stopwatch.lap(f"{stopped} stopped past the timeout: fenced, same bits")


if __name__ == "__main__":
    harness.run(__doc__, test, [("--steps", 200, "of the job")])
