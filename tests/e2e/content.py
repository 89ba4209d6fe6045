#!/usr/bin/env python3
"""Data in the cluster's store: puts that are killed go on, jobs by name equal jobs by path, and what
a worker or the disk lacks is said."""

import glob
import hashlib
import json
import os
import signal
import subprocess

import harness
from harness import check, wait_until

MIB = 1 << 20


def write_random(path, size):
    """The file's SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def object_path(cluster, sha256):
    return cluster.path("coordinator", "content", "objects", sha256[:2], sha256)


def partial_bytes(cluster):
    """Of the upload that is under way."""
    total = 0
    for path in glob.glob(cluster.path("coordinator", "content", "partial", "*")):
        try:
            total += os.path.getsize(path)
        except FileNotFoundError:
            pass  # Published meanwhile.
    return total


def killed_puts(cluster, stopwatch):
    """kill -9 of the client, then of the coordinator, in the middle of one upload."""
    path, size = f"{cluster.directory}/large", 160 * MIB
    sha256 = write_random(path, size)
    client = cluster.start("put", path)
    wait_until("something has come", lambda: partial_bytes(cluster) > 40 * MIB)
    client.kill()
    client.wait()
    check(not os.path.exists(object_path(cluster, sha256)), "the put was faster than the kill")
    had = partial_bytes(cluster)
    client = subprocess.Popen([cluster.muster, "put", path, "--name", "large", "--json"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=cluster.environment)
    cluster.children.append(client)
    wait_until("the put goes on", lambda: partial_bytes(cluster) > had + 4 * MIB)
    check(cluster.kill_coordinator(), "no coordinator to kill")
    out, err = client.communicate(timeout=60)
    check(client.returncode == 0, f"the put did not go on: {err}")
    put = json.loads(out)
    check(put["sha256"] == sha256 and put["bytes"] == size, f"put says {put}")
    check(put["sent_bytes"] < size, f"began again: {put['sent_bytes']} bytes sent")
    with open(object_path(cluster, sha256), "rb") as file:
        check(hashlib.file_digest(file, "sha256").hexdigest() == sha256
              if hasattr(hashlib, "file_digest")
              else hashlib.sha256(file.read()).hexdigest() == sha256, "the object is damaged")
    stopwatch.lap(f"one upload, client and coordinator killed: {put['sent_bytes'] // MIB} MiB "
                  f"after {had // MIB} of {size // MIB}")
    again = cluster.call("put", path, "--json").object()
    check(again["sent_bytes"] == 0, f"sent again: {again}")
    cluster.call("data", "get", "large", f"{cluster.directory}/back").ok()
    with open(f"{cluster.directory}/back", "rb") as file:
        check(hashlib.sha256(file.read()).hexdigest() == sha256, "get fetched something else")
    cluster.call("data", "rm", "large").ok()
    result = cluster.call("data", "rm", "large")
    check(result.code == 2, f"removed twice\n{result}")
    stopwatch.lap("put again, get, rm")


def write_store_job(path, data, reference):
    """The job of `path`, with its data in the store."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    changed = path.replace(".toml", "-store.toml")
    with open(changed, "w", encoding="utf-8") as file:
        file.write(text.replace(data + "/", reference + "/"))
    return changed


def jobs(cluster, stopwatch):
    data = harness.write_data(f"{cluster.directory}/data")
    with open(f"{data}/.musterignore", "w", encoding="utf-8") as file:
        file.write("# not for the cluster\n*.tmp\n")
    with open(f"{data}/notes.tmp", "w", encoding="utf-8") as file:
        file.write("x")
    result = cluster.call("put", data, "--name", "digits").ok()
    sha256 = result.out.strip()
    check(len(sha256) == 64 and result.out.count("\n") == 1, f"put printed {result}")
    listed = {one["name"]: one for one in cluster.call("data", "list", "--json").objects()}
    check(listed["digits"]["sha256"] == sha256 and listed["digits"]["files"] == 4, f"{listed}")
    by_path = harness.write_job(f"{cluster.directory}/job.toml", data, steps=20)
    digest = harness.final_digest(cluster.result(cluster.submit(by_path)))
    stopwatch.lap("a folder put, a job with the data by path")
    by_name = write_store_job(by_path, data, "store:digits")
    for ranks in (1, 2):
        shown = cluster.result(cluster.submit(by_name, f"resources.ranks={ranks}"))
        check(harness.final_digest(shown) == digest,
              f"by name {harness.final_digest(shown)}, by path {digest}")
        where = shown["spec"]["supervised"]["data"]["train_images"]
        check(where.startswith("sha256:") and len(where) == 71, f"the job holds {where}")
    stopwatch.lap("the same bits with the data by name, on 1 and 2 ranks")
    cached = glob.glob(cluster.path("workers", "*", "data", "*", where[7:]))
    check(len(cached) == 2, f"cached at {cached}")
    for path in cached:
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.seek(100)
            file.write(b"damage")
    shown = cluster.result(cluster.submit(by_name, "resources.ranks=2"))
    check(harness.final_digest(shown) == digest, "a damaged cache changed the result")
    check(shown["attempt"] == 1, "a damaged cache cost an attempt")
    stopwatch.lap("a damaged cache is noticed and fetched again")
    result = cluster.call("submit", by_name, "--set",
                          "supervised.data.train_images=store:digist/train-images")
    check(result.code == 2 and "did you mean 'digits'?" in result.err, str(result))
    os.symlink("/etc/passwd", f"{data}/link")
    result = cluster.call("put", data)
    check(result.code == 2 and "link is a symbolic link" in result.err, str(result))


def lacking_worker(muster, stopwatch):
    """The file goes between the submission, which sees it, and the start."""
    with harness.Cluster(muster, workers=1) as cluster:
        cluster.start_coordinator()
        data = harness.write_data(f"{cluster.directory}/data", samples=256)
        job = cluster.submit(harness.write_job(f"{cluster.directory}/job.toml", data))
        os.remove(f"{data}/train-images")
        cluster.start_worker(0)
        shown = wait_until("the job has ended", lambda: next(
            (one for one in [cluster.show(job)] if one["state"] in harness.ENDED), None))
        check(shown["state"] == "FAILED" and not shown["infrastructure"], f"{shown}")
        for words in ("-0 lacks ", f"{data}/train-images: No such file or directory; put it there"):
            check(words in shown["reason"], f"does not say {words!r}: {shown['reason']}")
    stopwatch.lap("a worker that lacks a path is named")


def full_disk(muster, stopwatch):
    with harness.Cluster(muster, workers=0) as cluster:
        os.makedirs(cluster.state)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", cluster.state],
                                 capture_output=True, check=False)
        if mounted.returncode != 0:
            print("         a full disk is not tested: mount needs root")
            return
        try:
            coordinator = cluster.start_coordinator()
            path = f"{cluster.directory}/file"
            write_random(path, 140 * MIB)
            result = cluster.call("put", path)
            check(result.code != 0 and "no room for 140.0 MiB" in result.err, str(result))
            check(partial_bytes(cluster) == 0, "bytes were sent nevertheless")
            with open(cluster.path("ballast"), "wb") as file:
                file.write(bytes(80 * MIB))
            os.truncate(path, 40 * MIB)
            result = cluster.call("put", path)
            check(result.code != 0 and "make room in" in result.err, str(result))
            os.remove(cluster.path("ballast"))
            cluster.call("put", path).ok()
            coordinator.send_signal(signal.SIGTERM)
            coordinator.wait()
        finally:
            subprocess.run(["umount", "-l", cluster.state], check=False)
    stopwatch.lap("a full disk is told before bytes are sent")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=2, slots=1) as cluster:
        cluster.up()
        stopwatch.lap("a cluster of 2 workers")
        killed_puts(cluster, stopwatch)
        jobs(cluster, stopwatch)
    lacking_worker(arguments.muster, stopwatch)
    full_disk(arguments.muster, stopwatch)


if __name__ == "__main__":
    harness.run(__doc__, test)
