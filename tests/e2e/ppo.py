#!/usr/bin/env python3
"""A policy ends in the same bits on any ranks and after any kill -9; what is wrong is told at once."""

import json
import os
import random

import harness
from harness import check

JOB = """name = "ppo"
lanes = 4
seed = 5

[checkpoint]
every_steps = 5

[ppo]
environment = "{environment}"
total_steps = 163_840   # 40 updates
envs = 64
rollout_steps = 64
minibatches = 4
epochs = 2
learning_rate = 1e-3

[ppo.policy]
hidden = [32]

[ppo.wrappers]
normalize_observations = true
normalize_rewards = true

[ppo.evaluation]
every_updates = 8
episodes = 10
"""


VPG = """name = "vpg"
lanes = 4
seed = 5

[checkpoint]
every_steps = 2

[vpg]
environment = "CartPole-v1"
total_steps = 163_840   # 40 updates
envs = 64
rollout_steps = 64
value_steps = 10

[vpg.evaluation]
every_updates = 4
episodes = 10
"""


def write_vpg(cluster):
    path = f"{cluster.directory}/vpg.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(VPG)
    return path


def write(cluster, environment):
    path = f"{cluster.directory}/{environment}.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(JOB.format(environment=environment))
    return path


def layouts(cluster, path, *more):
    found = {}
    for ranks, transport, threads in ((1, "auto", 1), (1, "auto", 2), (2, "shm", 1),
                                      (2, "gloo", 1), (4, "shm", 1)):
        job = cluster.submit(path, *more, f"resources.ranks={ranks}",
                             f"resources.collectives=\"{transport}\"",
                             f"resources.threads_per_rank={threads}")
        shown = cluster.result(job)
        check(shown["state"] == "SUCCEEDED" and shown["attempt"] == 1, f"job {job}: {shown}")
        found[ranks, transport, threads] = harness.final_digest(shown)
    check(len(set(found.values())) == 1, f"digests differ: {found}")
    return found[1, "auto", 1], job


def runs(cluster, job, steps):
    """Waits until it has done so many; False if it was over before anybody saw it there."""
    shown = harness.wait_until(f"job {job} has done {steps} steps", lambda: next(
        (one for one in [cluster.try_show(job)] if one and (one["state"] in harness.ENDED or (
            one["state"] == "RUNNING" and one["steps_done"] >= steps))), None), 60)
    return shown["state"] == "RUNNING"


def killed(cluster, path, digest, chooser, *more):
    """Learners die in mid-rollout; normalisers, episodes and random streams go on where they were."""
    for what in ("rank",) if more else ("rank", "agent", "coordinator"):
        hit = False
        for _ in range(10):
            job = cluster.submit(path, "resources.ranks=2", *more)
            if not runs(cluster, job, 1 + chooser.randrange(25)):
                continue
            hit = {"rank": lambda job=job: cluster.kill_ranks(job, chooser.choice),
                   "agent": lambda job=job: cluster.kill_worker(worker_of(cluster, job)),
                   "coordinator": lambda job=job: cluster.kill_coordinator()}[what]()
            shown = cluster.result(job)
            if hit and (what == "coordinator" or shown["attempt"] > 1):
                break
        check(hit, f"no {what} to kill")
        check(harness.final_digest(shown) == digest, f"other bits after the death of a {what}")
        harness.check_metrics(cluster.metrics(job), 40)


def worker_of(cluster, job):
    return int(cluster.show(job)["ranks"][0]["worker"].rsplit("-", 1)[1])


def metrics(cluster, job):
    rows = cluster.metrics(job)
    for name in ("charts/global_step", "charts/SPS", "losses/value_loss", "losses/approx_kl",
                 "losses/explained_variance", "charts/episodic_return"):
        check(all(name in row["values"] if "values" in row else name in row for row in rows[2:]),
              f"no {name} in {rows[2]}")
    shown = cluster.show(job)
    check("evaluation/return" in shown["last_metrics"], f"{sorted(shown['last_metrics'])}")


def recorded(cluster, path, digest):
    """The last checkpoint comes with an episode to look at, or without: the same checkpoint."""
    for record in ("true", "false"):
        job = cluster.submit(path, f"ppo.evaluation.record_episode={record}")
        check(harness.final_digest(cluster.result(job)) == digest, "other bits with a picture")
        folder = f"{cluster.directory}/pulled-{record}"
        cluster.call("pull", job, folder).ok()
        gif = f"{folder}/episode.gif"
        check(os.path.exists(gif) == (record == "true"), f"{sorted(os.listdir(folder))}")
        if record == "true":
            with open(gif, "rb") as file:
                check(file.read(6) == b"GIF89a", "no GIF")


def mistakes(cluster, path):
    for setting, words in (
            ("ppo.environment=\"CartPole-v9\"", ("CartPole-v9", "CartPole-v1")),
            ("ppo.environment=\"./mine.so\"", ("/mine.so", "no such file")),
            ("ppo.envs=66", ("ppo.envs", "lanes (4)")),
            ("ppo.minibatches=3", ("ppo.minibatches", "1024")),
            ("ppo.total_steps=100", ("ppo.total_steps", "4096")),
            ("ppo.policy.memory=\"gru\" ppo.minibatches=32", ("ppo.minibatches", "16 environments")),
            ("ppo.policy.use_sde=true", ("use_sde", "Discrete(2)")),
            ("ppo.policy.sde_sample_freq=4", ("sde_sample_freq", "needs use_sde")),
            ("ppo.policy.memory_units=8", ("memory_units", "needs memory")),
            ("ppo.policy.kind=\"nature_cnn\"", ("pictures", "Box")),
            ("ppo.wrappers.scale_actions=true", ("scale_actions", "Discrete(2)")),
            ("ppo.settings.gravity=\"9\"", ("gravity",)),
            ("ppo.evaluation.stop_at_return=5.0 ppo.evaluation.episodes=0", ("episodes",)),
            ("ppo.learning_rate=0.0", ("learning_rate", "above 0"))):
        arguments = [word for part in setting.split(" ") for word in ("--set", part)]
        result = cluster.call("submit", path, *arguments)
        check(result.code == 2 and result.err.count("\n") == 1, f"{setting}: {result}")
        for word in words:
            check(word in result.err, f"{setting} does not say {word!r}: {result}")


def agent(cluster, path):
    out = cluster.call("env", "check", "--agent", path).ok().out
    check(out.count("ok    Probe") == 5, out)
    broken = f"{cluster.directory}/broken.toml"
    with open(path, encoding="utf-8") as file, open(broken, "w", encoding="utf-8") as to:
        to.write(file.read().replace("epochs = 2", "epochs = 2\nvalue_coefficient = 0.0"))
    result = cluster.call("env", "check", "--agent", broken)
    check(result.code != 0 and "Probe1-v0: look at the value loss" in result.err, str(result))


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=4) as cluster:
        cluster.up()
        cart, pendulum = write(cluster, "CartPole-v1"), write(cluster, "Pendulum-v1")
        digest, job = layouts(cluster, cart)
        layouts(cluster, pendulum)
        stopwatch.lap("same bits on 1, 2 and 4 ranks, of choices and of numbers as actions")
        metrics(cluster, job)
        recorded(cluster, cart, digest)
        killed(cluster, cart, digest, random.Random(7))
        stopwatch.lap("same bits after a rank, an agent and the coordinator were killed")
        lagging, _ = layouts(cluster, cart, "ppo.max_policy_lag=2", "ppo.vtrace=true")
        check(lagging != digest, "policies that lag learn the same")
        killed(cluster, cart, lagging, random.Random(8), "ppo.max_policy_lag=2", "ppo.vtrace=true")
        stopwatch.lap("the same for policies that lag by two updates")
        memory = ("ppo.policy.memory=\"lstm\"", "ppo.policy.memory_units=16")
        remembering, _ = layouts(cluster, cart, *memory)
        killed(cluster, cart, remembering, random.Random(9), *memory)
        stopwatch.lap("the same for a policy with memory")
        exploring = ("ppo.policy.use_sde=true", "ppo.policy.sde_sample_freq=5")
        digest, _ = layouts(cluster, pendulum, *exploring)
        killed(cluster, pendulum, digest, random.Random(11), *exploring)
        shown = cluster.result(cluster.submit(pendulum, "resources.rollout_workers=2", *exploring))
        check(harness.final_digest(shown) == digest, "other bits with rollout workers")
        stopwatch.lap("the same for noise that depends on the state")
        plain = write_vpg(cluster)
        digest, _ = layouts(cluster, plain)
        killed(cluster, plain, digest, random.Random(10), "vpg.gamma=0.99")
        shown = cluster.result(cluster.submit(plain, "resources.rollout_workers=2"))
        check(harness.final_digest(shown) == digest, "other bits with rollout workers")
        result = cluster.call("submit", plain, "--set", "vpg.policy.shared=true")
        check(result.code == 2 and "vpg.policy.shared must be false" in result.err, str(result))
        stopwatch.lap("the same for vanilla policy gradient")
        mistakes(cluster, cart)
        agent(cluster, cart)
        stopwatch.lap("mistakes are told, agents are probed")
        check(json.loads(cluster.call("env", "list", "--json").ok().out.splitlines()[0])["name"],
              "env list")


if __name__ == "__main__":
    harness.run(__doc__, test)
