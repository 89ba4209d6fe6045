#!/usr/bin/env python3
"""Workers that are taken out of service, and clusters that go down, lose no step of a job."""

import signal
import time

import harness
from harness import check, wait_until


def node(cluster, worker):
    return next(one for one in cluster.call("nodes", "--json").objects()
                if one["worker"] == worker)


def drains(cluster, path, digest):
    """The job leaves the worker at once with a checkpoint of where it was, and goes on elsewhere."""
    job = cluster.submit(path)
    shown = cluster.wait_for_steps(job, 5)
    worker = shown["ranks"][0]["worker"]
    drained = cluster.call("drain", worker, "--reason", "new kernel", "--wait", "--json").object()
    check(drained["state"] == "drained" and drained["slots_used"] == 0, f"drained: {drained}")
    check("new kernel" in drained["reason"], f"the reason is missing: {drained}")
    moved = cluster.wait_for(job, "runs elsewhere", lambda shown: shown["attempt"] == 2 and
                             shown["state"] == "RUNNING")
    check(worker not in {rank["worker"] for rank in moved["ranks"]}, f"is still there: {moved}")
    check(moved["failures"] == 0, f"a drain is no failure: {moved}")
    left = [one for one in moved["checkpoints"] if one["attempt"] == 1]
    check(left, "it left without a checkpoint")
    goes_on = f"goes on from step {left[-1]['step']} of"
    check(goes_on in cluster.call("logs", job).ok().out, f"no rank said: {goes_on}")
    # A coordinator that was killed still knows.
    cluster.kill_coordinator()
    cluster.start_coordinator()
    cluster.wait_for_nodes(1)
    check(node(cluster, worker)["drained"], "the restarted coordinator forgot the drain")
    shown = cluster.result(job)
    check(harness.final_digest(shown) == digest, f"other bits after a drain: {shown}")
    cluster.call("resume", worker).ok()
    cluster.wait_for_nodes(2)
    check(cluster.call("resume", worker).code != 0, "resumed twice")
    check(cluster.call("drain", "nobody").code != 0, "drained a worker that is not there")


def ends_at_the_deadline(cluster):
    """A program cannot be asked for a checkpoint: it runs on, until the deadline if there is one."""
    path = f"{cluster.directory}/command.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write('name = "sleeps"\n[command]\narguments = ["sleep", "300"]\n')
    job = cluster.submit(path)
    shown = cluster.wait_for(job, "runs", lambda shown: shown["state"] == "RUNNING")
    worker, pid = shown["ranks"][0]["worker"], shown["ranks"][0]["pid"]
    cluster.call("drain", worker).ok()
    check(node(cluster, worker)["state"] == "draining", "a program was ended without a deadline")
    check(harness.alive(pid), "a program was ended without a deadline")
    waits_over_a_restart(cluster, worker)
    check(harness.alive(pid), "a program was ended without a deadline")
    cluster.call("drain", worker, "--deadline", "0", "--wait").ok()
    check(not harness.alive(pid), f"process {pid} outlived the drain")
    moved = cluster.wait_for(job, "runs elsewhere", lambda shown: shown["attempt"] == 2 and
                             shown["state"] == "RUNNING")
    check(moved["ranks"][0]["worker"] != worker, f"is still there: {moved}")
    cluster.call("cancel", job).ok()
    cluster.call("wait", job)
    cluster.call("resume", worker).ok()


def waits_over_a_restart(cluster, worker):
    """Who waits for a drain, by an address too, does not notice a coordinator that comes back."""
    with open(cluster.path("address"), encoding="utf-8") as file:
        address = file.read().split()[0]
    by_address = cluster.start("drain", worker, "--wait", "--address", address, "--token-file",
                               cluster.path("user.token"))
    by_folder = cluster.start("drain", worker, "--wait")
    time.sleep(0.5)
    harness.send(cluster.coordinator_pid(), signal.SIGTERM)
    wait_until("the coordinator has ended", lambda: not cluster.coordinator_pid())
    time.sleep(5)  # Longer than a single call waits.
    cluster.start_coordinator(address)
    cluster.wait_for_nodes(1)
    for waits in (by_address, by_folder):
        check(waits.poll() is None, f"`{' '.join(waits.args[1:])}` gave up: {waits.returncode}")
        harness.send(waits.pid, signal.SIGINT)
        check(waits.wait(10) == 130, f"interrupted, it ended with {waits.returncode}")


def shuts_down(cluster, path, digest):
    """An agent that gets SIGTERM has its ranks write a checkpoint before it ends."""
    job = cluster.submit(path)
    shown = cluster.wait_for_steps(job, 5)
    number = int(shown["ranks"][0]["worker"].rsplit("-", 1)[1])
    pid = cluster.worker_pid(number)
    harness.send(pid, signal.SIGTERM)
    wait_until("the agent has ended", lambda: not harness.alive(pid), 15)
    moved = cluster.wait_for(job, "runs elsewhere", lambda shown: shown["attempt"] == 2 and
                             shown["state"] == "RUNNING")
    check([one for one in moved["checkpoints"] if one["attempt"] == 1], "no checkpoint was left")
    # Then all of it goes down, and comes back.
    cluster.down().ok()
    cluster.up()
    shown = cluster.result(job)
    check(harness.final_digest(shown) == digest, f"other bits after shutdowns: {shown}")
    steps = [row["step"] for row in cluster.metrics(job)]
    check(steps == list(range(1, shown["steps_total"] + 1)), f"steps are missing or double: {steps}")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=2) as cluster:
        data = harness.write_data(f"{cluster.directory}/data")
        path = harness.write_job(f"{cluster.directory}/drain.toml", data, "slow", ranks=1,
                                 steps=arguments.steps, batch=128, every_steps=1000, keep_last=1000)
        cluster.start_coordinator()
        for number in range(2):
            cluster.start_worker(number)
        cluster.wait_for_nodes(2)
        digest = harness.final_digest(cluster.result(cluster.submit(path)))
        stopwatch.lap(f"undisturbed, {digest[:12]}")
        drains(cluster, path, digest)
        stopwatch.lap("drained: moved with a checkpoint, same bits")
        ends_at_the_deadline(cluster)
        stopwatch.lap("a program runs on until the deadline")
        shuts_down(cluster, path, digest)
        stopwatch.lap("shut down and brought back: no step lost, same bits")


if __name__ == "__main__":
    harness.run(__doc__, test, [("--steps", 150, "of the job")])
