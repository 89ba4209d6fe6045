#!/usr/bin/env python3
"""A plug-in goes with its job: to workers that never see its file, after its file was changed and
deleted, to the same bits; what could harm the cluster is refused before it is sent."""

import hashlib
import os
import random
import shutil

import harness
from harness import check

JOB = """name = "plugin"
lanes = 4
seed = 5

[checkpoint]
every_steps = 5

[ppo]
environment = "./walk.so"
total_steps = 163_840   # 40 updates
envs = 64
rollout_steps = 64
epochs = 2

[ppo.policy]
hidden = [32]

[ppo.settings]
length = "12"
"""


TABLE = """name = "table"
lanes = 2

[tabular]
environment = "./squares.so"
steps = 200
runs = 4
gamma = 0.9

[tabular.settings]
length = "6"

[tabular.q_learning]
initial_value = 1.0
"""


def build(cluster, folder, name="walk", source=None, header=None):
    """The folder gets NAME.cpp and NAME.so; `source` and `header` change the texts they come from."""
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(f"{folder}/walk.cpp"):
        cluster.call("env", "new", "walk", "-o", folder).ok()
    with open(f"{folder}/walk.cpp", encoding="utf-8") as file:
        text = file.read()
    with open(f"{folder}/{name}.cpp", "w", encoding="utf-8") as file:
        file.write(source(text) if source else text)
    if header:
        with open(f"{folder}/muster_env.h", encoding="utf-8") as file:
            text = file.read()
        with open(f"{folder}/muster_env.h", "w", encoding="utf-8") as file:
            file.write(header(text))
    library = f"{folder}/{name}.so"
    cluster.call("env", "build", f"{folder}/{name}.cpp", "-o", library).ok()
    return library


def replaced(old, new):
    def change(text):
        check(old in text, f"the template has no {old!r}")
        return text.replace(old, new)
    return change


def write_job(folder, text=JOB):
    with open(f"{folder}/job.toml", "w", encoding="utf-8") as file:
        file.write(text)
    return f"{folder}/job.toml"


def start_workers(cluster, count):
    """Where nothing of a job's folder is in reach by a relative path."""
    here = os.getcwd()
    os.chdir("/")
    try:
        for number in range(count):
            cluster.start_worker(number)
    finally:
        os.chdir(here)
    cluster.wait_for_nodes(count)


def shipped(cluster):
    """Jobs by a relative path whose folder is gone before any worker comes: all end in the same bits."""
    folder = f"{cluster.directory}/sender"
    library = build(cluster, folder)
    path = write_job(folder)
    with open(library, "rb") as file:
        content = file.read()
    cluster.start_coordinator()
    jobs = [cluster.submit(path, f"resources.ranks={ranks}",
                           f"resources.rollout_workers={rollouts}")
            for ranks, rollouts in ((1, 0), (2, 0), (1, 2))]
    shutil.rmtree(folder)
    start_workers(cluster, 3)
    digests = [harness.final_digest(cluster.result(job)) for job in jobs]
    check(len(set(digests)) == 1, f"digests differ: {digests}")
    rows = cluster.metrics(jobs[2])
    check(any(row.get("values", row).get("train/rollout_workers", 0) > 0 for row in rows),
          "no rollout worker has had the plug-in")
    recipe = cluster.show(jobs[0])["spec"]["ppo"]
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    check(recipe["environment"] == "walk.so" and recipe["environment_library"] == digest,
          f"the record is {recipe}")
    text = cluster.call("show", jobs[0]).ok().out
    check(f"walk.so  {digest}" in text, f"show does not tell the plug-in:\n{text}")
    # From elsewhere, and by name from the store: the bytes count and not where they lay.
    other = f"{cluster.directory}/other/place"
    os.makedirs(other)
    with open(f"{other}/walk.so", "wb") as file:
        file.write(content)
    write_job(other, JOB.replace("./walk.so", f"{other}/walk.so"))
    again = cluster.submit(f"{other}/job.toml")
    cluster.call("put", f"{other}/walk.so", "--name", "walk").ok()
    named = cluster.submit(f"{other}/job.toml", "ppo.environment=walk.so",
                           "ppo.environment_library=store:walk")
    cluster.call("put", other, "--name", "envs").ok()
    inner = cluster.submit(f"{other}/job.toml", "ppo.environment=store:envs/walk.so")
    for job in (again, named, inner):
        check(harness.final_digest(cluster.result(job)) == digests[0], "other bits from elsewhere")
    return digests[0], other


def killed(cluster, folder, digest):
    """The file changes, then goes, while a job runs that is killed: what was sent counts."""
    library, chooser = f"{folder}/walk.so", random.Random(3)
    with open(library, "rb") as file:
        content = file.read()
    resumed = 0
    for replace in (lambda: None, lambda: os.unlink(library)):
        for _ in range(10):
            with open(library, "wb") as file:
                file.write(content)
            job = cluster.submit(f"{folder}/job.toml", "resources.ranks=2")
            with open(library, "wb") as file:
                file.write(b"something else")
            replace()
            shown = harness.wait_until("the job works", lambda: next(
                (one for one in [cluster.show(job)] if one["state"] in harness.ENDED or
                 one.get("checkpoints")), None))
            if shown["state"] in harness.ENDED or not cluster.kill_ranks(job, chooser.choice):
                continue
            shown = cluster.result(job)
            check(harness.final_digest(shown) == digest, "other bits after a kill")
            if shown["attempt"] > 1:
                resumed += 1
                break
    check(resumed == 2, "no job was killed in time")


def refused(cluster, words, path, *sets):
    arguments = [word for setting in sets for word in ("--set", setting)]
    for command in ("submit", "run"):
        result = cluster.call(command, path, *arguments)
        check(result.code == 2 and result.err.count("\n") == 1 and "\x1b" not in result.err and
              all(word in result.err for word in words), f"not told {words} in one line: {result}")


def tables(cluster):
    """A plug-in of choices for [tabular], on one rank and two; one of numbers is refused."""
    folder = f"{cluster.directory}/tables"

    def of_choices(text):
        text = replaced("Space::Box({1}, -1, 1)", "Space::Discrete(int(length_) + 2)")(text)
        text = replaced("float* observation", "std::int32_t* observation")(text)
        at = text.index("observation[0] = ")
        end = text.index(";", at)
        return text[:at] + "observation[0] = std::int32_t(at_ + 1)" + text[end:]
    build(cluster, folder, "squares", of_choices)
    build(cluster, folder)
    path = write_job(folder, TABLE)
    jobs = [cluster.submit(path, f"resources.ranks={ranks}") for ranks in (1, 2)]
    os.unlink(f"{folder}/squares.so")
    digests = [harness.final_digest(cluster.result(job)) for job in jobs]
    check(digests[0] == digests[1], f"two ranks end in other bits: {digests}")
    last = cluster.metrics(jobs[0])[-1]
    check(last["evaluation/return"] == 1, f"it has not learnt the way: {last}")
    refused(cluster, ("tabular.environment", "Walk", "a table has room for choices only"), path,
            f"tabular.environment={folder}/walk.so")


def mistakes(cluster):
    folder = f"{cluster.directory}/mistakes"
    library = build(cluster, folder)
    path = write_job(folder)
    jobs = len(cluster.call("ps", "--all", "--json").objects())
    constructor = "if (length_ < 2)"
    for name, text, words in (
            ("crash", "*static_cast<volatile int*>(nullptr) = 1;",
             ("crash.so", "signal 11", "Segmentation fault")),
            ("exit", "std::exit(0);", ("exit.so", "exit code 1")),
            ("thrown", "throw std::runtime_error(\"no\\nlicence\\x1b[1m\");",
             ("thrown.so", "licence"))):
        build(cluster, folder, name, replaced(constructor, text + constructor))
        refused(cluster, words, path, f"ppo.environment={folder}/{name}.so")
    check("job.toml:9:15" in cluster.call("submit", write_job(
        folder, JOB.replace("walk.so", "crash.so"))).err, "does not tell the place")
    write_job(folder)
    refused(cluster, ("unknown option wide",), path, "ppo.settings.wide=1")
    refused(cluster, ("no such file", "none.so"), path, f"ppo.environment={folder}/none.so")
    os.mkdir(f"{folder}/folder.so")
    refused(cluster, ("folder.so",), path, f"ppo.environment={folder}/folder.so")
    with open(library, "rb") as file:
        content = bytearray(file.read())
    os.truncate(library, 65 << 20)  # It can be loaded still.
    refused(cluster, ("ppo.environment", "walk.so", "at most 64"), path)
    cluster.call("put", library, "--name", "large").ok()
    refused(cluster, ("environment_library", "at most"), path, "ppo.environment=large.so",
            "ppo.environment_library=store:large")
    with open(library, "wb") as file:
        file.write(content[:4096])  # Half a download: the dynamic linker itself crashes.
    refused(cluster, ("walk.so crashed with signal 7",), path)
    content[18] = 62 if content[18] == 183 else 183  # The machine, in the ELF header.
    with open(library, "wb") as file:
        file.write(content)
    refused(cluster, ("walk.so is built for",), path)
    build(cluster, folder, "old", header=replaced("#define MUSTER_ENV_ABI 1",
                                                  "#define MUSTER_ENV_ABI 7"))
    refused(cluster, ("version 7 of the plug-in interface",), path,
            f"ppo.environment={folder}/old.so")
    now = len(cluster.call("ps", "--all", "--json").objects())
    check(now == jobs, "something of that has become a job")


def failing(cluster):
    """One that goes wrong only later fails the job by name, after a bounded number of tries."""
    folder = f"{cluster.directory}/failing"
    build(cluster, folder, "late", replaced("at_ += action.Choice() == 1 ? 1 : -1;",
                                            "*static_cast<volatile int*>(nullptr) = 1;"))
    job = cluster.submit(write_job(folder, JOB.replace("walk.so", "late.so")))
    shown = harness.wait_until("the job has failed", lambda: next(
        (one for one in [cluster.show(job)] if one["state"] in harness.ENDED), None), 60)
    check(shown["state"] == "FAILED" and shown["attempt"] <= 3, f"{shown['state']}: {shown}")
    check("Walk" in shown["reason"] and "action [" in shown["reason"], shown["reason"])


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=3) as cluster:
        digest, folder = shipped(cluster)
        stopwatch.lap("same bits on workers that never saw the file, on 1 and 2 ranks, with rollouts")
        killed(cluster, folder, digest)
        stopwatch.lap("same bits after a kill, the file changed and deleted")
        tables(cluster)
        stopwatch.lap("tables of a plug-in of choices")
        mistakes(cluster)
        stopwatch.lap("what cannot run is refused before it is sent")
        failing(cluster)
        stopwatch.lap("what goes wrong later fails the job by name")


if __name__ == "__main__":
    harness.run(__doc__, test)
