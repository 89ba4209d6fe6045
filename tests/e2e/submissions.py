#!/usr/bin/env python3
"""Submissions survive kill -9 of the coordinator: acknowledged ones exist, once, whole."""

import random
import subprocess
import threading
import time

import harness
from harness import check

JOB = "lanes = 2\n[resources]\nranks = 2\n[collective]\nsteps = 7\nbytes = 4096\n"


class Client(threading.Thread):
    """Submits jobs one after another, each under a request id of its own; some of its commands
    are killed before they can tell the answer."""

    def __init__(self, cluster, number, jobs, seed):
        super().__init__()
        self.cluster, self.number, self.jobs = cluster, number, jobs
        self.chooser = random.Random(seed * 1000 + number)
        self.acknowledged = {}  # Name -> id.
        self.silent = []        # Names without an answer.
        self.errors = []

    def run(self):
        for i in range(self.jobs):
            name = f"burst-{self.number}-{i}"
            child = subprocess.Popen(
                [self.cluster.muster, "submit", f"{self.cluster.directory}/job.toml", "--set",
                 f'name="{name}"', "--request-id", name],
                env=self.cluster.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            patience = self.chooser.random() * 0.06 if i % 4 == 3 else 120
            try:
                out, err = child.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
            if child.returncode == 0:
                self.acknowledged[name] = int(out)
            elif child.returncode == -9:
                self.silent.append(name)
            else:
                self.errors.append(f"{name}: exit code {child.returncode}, {err!r}")


def listed(cluster):
    """Name -> job, of the burst."""
    jobs = [job for job in cluster.call("ps", "-a", "--json").objects()
            if job["name"].startswith("burst-")]
    names = [job["name"] for job in jobs]
    check(len(set(names)) == len(names), f"submitted twice: {sorted(names)}")
    return dict(zip(names, jobs))


def test(arguments, stopwatch):
    chooser = random.Random(arguments.seed)
    with harness.Cluster(arguments.muster, workers=1, slots=2) as cluster:
        with open(f"{cluster.directory}/job.toml", "w", encoding="utf-8") as file:
            file.write('name = "burst"\n' + JOB)
        cluster.up()
        clients = [Client(cluster, number, arguments.jobs, arguments.seed) for number in range(4)]
        for client in clients:
            client.start()
        kills = kill_during(cluster, clients, 4 * arguments.jobs, chooser)
        for client in clients:
            client.join()
        wait_for_coordinator(cluster)
        stopwatch.lap(f"{4 * arguments.jobs} submissions by 4 clients, coordinator killed "
                      f"{kills} times")
        verify(cluster, clients)
        stopwatch.lap("every acknowledged job exists once and whole; request ids name one job")


def kill_during(cluster, clients, total, chooser):
    """Five kills, spread over the burst at random; more would only meet the supervisor's pauses."""
    kills = 0
    for goal in sorted(chooser.sample(range(total * 4 // 5), 5)):
        harness.wait_until(f"{goal} submissions are answered", lambda: sum(
            len(client.acknowledged) + len(client.silent) for client in clients) >= goal, 150)
        time.sleep(chooser.random() * 0.03)
        harness.wait_until("there is a coordinator to kill", cluster.kill_coordinator)
        kills += 1
    return kills


def wait_for_coordinator(cluster):
    harness.wait_until("the coordinator answers", cluster.reachable)


def verify(cluster, clients):
    errors = [error for client in clients for error in client.errors]
    check(not errors, f"submissions that were given up: {errors}")
    acknowledged = {name: job for client in clients for name, job in client.acknowledged.items()}
    silent = [name for client in clients for name in client.silent]
    jobs = listed(cluster)
    for name, job in acknowledged.items():
        check(name in jobs and jobs[name]["id"] == job,
              f"job {job} ({name}) was acknowledged and is {jobs.get(name)}")
    check(set(jobs) <= set(acknowledged) | set(silent), "jobs that nobody submitted")
    check(len({job["id"] for job in jobs.values()}) == len(jobs), "an id names two jobs")
    # The same request ids again: those that exist keep their ids, the others come to be.
    for name in list(acknowledged)[::5] + silent:
        again = int(cluster.call("submit", f"{cluster.directory}/job.toml", "--set",
                                 f'name="{name}"', "--request-id", name, seconds=150).ok().out)
        check(name not in jobs or jobs[name]["id"] == again,
              f"{name} was job {jobs.get(name, {}).get('id')} and is {again} when asked again")
    jobs = listed(cluster)
    check(set(jobs) == set(acknowledged) | set(silent), "not exactly the jobs submitted")
    for job in jobs.values():
        spec = cluster.show(job["id"])["spec"]
        check(spec["name"] == job["name"] and spec["collective"]["steps"] == 7 and
              spec["resources"]["ranks"] == 2, f"job {job['id']} is not whole: {spec}")
    print(f"           {len(acknowledged)} acknowledged, {len(silent)} clients killed unanswered")


if __name__ == "__main__":
    harness.run(__doc__, test, [("--seed", 1, "of the kills"),
                                ("--jobs", 25, "submissions of each of 4 clients")])
