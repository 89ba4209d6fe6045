#!/usr/bin/env python3
"""Muster in the hands of a newcomer: typos, no cluster, Ctrl-C, a narrow terminal, a full disk."""

import fcntl
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

import harness
from harness import check


def refused(result, code, *words):
    check(result.code == code, f"not exit code {code}: {result}")
    check(result.err.count("\n") == 1 and result.err.startswith("muster: "),
          f"not one line: {result}")
    for word in words:
        check(word in result.err, f"does not say {word!r}: {result}")


def typos(cluster):
    call = cluster.call
    refused(call("sumbit", "x.toml"), 2, "sumbit", "'submit'")
    refused(call("nonsense"), 2, "nonsense", "--help")
    refused(call("up", "--worker", "2"), 2, "--worker", "'--workers'")
    refused(call("up", "--workers", "two"), 2, "two")
    refused(call("up", "--workers", "0"), 2, "--workers")
    refused(call("show"), 2, "ID")
    refused(call("show", "seven"), 2, "seven")
    refused(call("ps", "extra"), 2, "extra")
    refused(call("bench", "nothing"), 2, "nothing")
    refused(call("schema", "nothing"), 2, "nothing")
    check("Usage" in call("--help").ok().out, "no help")
    check(call("help", "run").ok().out == call("run", "--help").ok().out, "another help")
    check(call("--version").ok().out == call("version").ok().out, "another version")
    refused(call("bench", "submit", "steps=1"), 2, "steps=1", "repetitions=20")
    refused(call("bench", "train", "job=/no/such.toml"), 2, "/no/such.toml")
    check("repetitions=" in call("bench", "--help").ok().out, "bench --help without settings")
    for command in ("up", "down", "run", "submit", "ps", "show", "logs", "metrics", "watch", "wait",
                    "cancel", "resume", "nodes", "pull", "schema", "bench", "coordinator", "worker", "tls", "join-token",
                    "version"):
        out = call(command, "--help").ok().out
        check(f"muster {command}" in out, f"the help of {command} has no example: {out}")
        check(all(len(line) <= 120 for line in out.splitlines()), f"long lines: {out}")
    check(call().code == 2, "`muster` alone")
    call("version").ok()
    call("schema").ok()


def without_cluster(cluster, path):
    for arguments in (("ps",), ("nodes",), ("show", 1), ("logs", 1), ("wait", 1), ("cancel", 1),
                      ("metrics", 1), ("watch", 1), ("pull", 1, f"{cluster.directory}/x"), ("submit", path)):
        refused(cluster.call(*arguments), 3, "muster up")
    refused(cluster.call("ps", "--address", "127.0.0.1:1"), 4, "--token-file")
    token = f"{cluster.directory}/some.token"
    with open(token, "w", encoding="utf-8") as file:
        file.write("0" * 64 + "\n")
    os.chmod(token, 0o600)
    refused(cluster.call("ps", "--address", "127.0.0.1:1", "--token-file", token), 3, "127.0.0.1:1")
    check(cluster.call("down").code == 0, "down without a cluster")
    refused(cluster.call("run", path, "-o", "/proc/x"), 2, "/proc/x")
    refused(cluster.call("run", path, "--set", "supervised.steps=9"), 2, f"{path}:", "warmup_steps")
    # `run` brings its own cluster, and takes it away.
    output = f"{cluster.directory}/model"
    done = cluster.call("run", path, "--output", output, "--set", "resources.ranks=2").ok()
    check("model: " in done.out or output in done.out, f"does not say where the model is: {done}")
    check_model(output)
    check(not cluster.leftovers(), "run has left processes")
    failing = cluster.call("run", path, "--set", "supervised.optimizer.learning_rate=1000",
                           "--set", "supervised.optimizer.weight_decay=1000",
                           "--set", "supervised.optimizer.kind=\"sgd\"")
    check(failing.code == 1, f"a job that fails by itself: {failing}")
    check("step" in failing.err + failing.out, f"does not say at which step: {failing}")
    check(not cluster.leftovers(), "run has left processes")


def check_model(folder, digest=None):
    """The files are those of the manifest."""
    with open(f"{folder}/manifest.json", "rb") as file:
        text = file.read()
    if digest:
        check(hashlib.sha256(text).hexdigest() == digest, "another manifest than show tells")
    listed = {entry["path"]: entry for entry in json.loads(text)["files"]}
    check("model.safetensors" in listed, f"no model in {list(listed)}")
    for name, entry in listed.items():
        with open(f"{folder}/{name}", "rb") as file:
            content = file.read()
        check(len(content) == entry["size"] and
              hashlib.sha256(content).hexdigest() == entry["sha256"], f"{name} is not as listed")


def interrupted(cluster, path):
    """Ctrl-C, or a terminal that is closed, ends a private run and its job."""
    for how in (signal.SIGINT, signal.SIGHUP):
        interrupted_by(cluster, path, how)


def interrupted_by(cluster, path, how):
    log = f"{cluster.directory}/interrupted-{how}.log"
    output = f"{cluster.directory}/interrupted-{how}"
    child = cluster.start("run", path, "-o", output, "--set", "supervised.steps=1000000",
                          "--set", "checkpoint.every_steps=2", log=log)
    harness.wait_until("the private job has come some way", lambda: any(
        int(steps.replace(",", "")) >= 10 for steps in re.findall(r"RUNNING\s+([\d,]+)/", read(log))))
    os.kill(child.pid, how)
    check(child.wait(30) == 130, f"run after Ctrl-C: {child.returncode}\n{read(log)}")
    check(not cluster.leftovers(), "an interrupted run has left processes")
    check_model(output)  # What it had reached is the user's.


def late_obstacle(cluster, path):
    """The folder for the model is taken while the job runs: the model is kept, and said where."""
    results = f"{cluster.state}/results"
    for kept in (False, True):
        shutil.rmtree(results, ignore_errors=True)
        if kept:  # Then there is no other place either.
            os.makedirs(cluster.state, exist_ok=True)
            with open(results, "w", encoding="utf-8"):
                pass
        output = f"{cluster.directory}/late-{kept}"
        log = f"{output}.log"
        # Some seconds of steps: a job that is over between two looks is never seen to run.
        child = cluster.start("run", path, "-o", output, "--set", "supervised.steps=6000", log=log)
        harness.wait_until("the private job runs", lambda: "RUNNING" in read(log))
        os.makedirs(f"{output}/precious")
        check(child.wait(60) == 5, f"run without its folder: {child.returncode}\n{read(log)}")
        check(not cluster.leftovers(), "run has left processes")
        if not kept:
            check_model(read(log).split("model: ")[1].split("\n")[0])
            continue
        os.unlink(results)
        state = read(log).split("is kept in ")[1].split(";")[0]
        cluster.call("up", "--detach", "--state", state).ok()
        cluster.call("pull", 1, f"{cluster.directory}/rescued", "--state", state).ok()
        cluster.call("down", "--state", state).ok()
        check_model(f"{cluster.directory}/rescued")


def detaches(cluster, path):
    log = f"{cluster.directory}/follow.log"
    child = cluster.start("submit", path, "--follow", "--set", "supervised.steps=1000000", log=log)
    harness.wait_until("the job runs", lambda: "RUNNING" in read(log))
    job = int(read(log).split("\n")[0])
    os.kill(child.pid, signal.SIGINT)
    check(child.wait(10) == 130, f"submit --follow after Ctrl-C: {child.returncode}")
    check(cluster.show(job)["state"] == "RUNNING", "Ctrl-C ended a job that was only followed")
    follower = cluster.start("wait", job)
    cluster.call("cancel", job).ok()
    check(follower.wait(30) == 6, f"wait for a cancelled job: {follower.returncode}")
    check(cluster.show(job)["reason"], "no reason why it was cancelled")
    cluster.call("cancel", job).ok()  # Idempotent.


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def with_cluster(cluster, path):
    call = cluster.call
    refused(call("up", "--detach"), 2, cluster.state, "muster down")
    for arguments in (("show", 99), ("logs", 99), ("wait", 99), ("cancel", 99), ("metrics", 99), ("watch", 99),
                      ("pull", 99, f"{cluster.directory}/x")):
        refused(call(*arguments), 2, "99")
    done = call("submit", path, "--follow").ok()
    job = int(done.out.split("\n")[0])
    check("SUCCEEDED" in done.out + done.err, f"does not tell the result: {done}")
    call("wait", job).ok()
    jsons(cluster, job)
    # pull: into a new folder, into an empty one, not over anything.
    shown = cluster.show(job)
    target = f"{cluster.directory}/pulled"
    call("pull", job, target).ok()
    check_model(target, harness.final_digest(shown))
    refused(call("pull", job, target), 2, target)
    check_model(target)
    os.mkdir(f"{cluster.directory}/empty")
    call("pull", job, f"{cluster.directory}/empty").ok()
    check_model(f"{cluster.directory}/empty")
    refused(call("pull", job, "--step", "3", f"{cluster.directory}/y"), 2, "step 3")
    check(not os.path.exists(f"{cluster.directory}/y"), "a failed pull left a folder")
    refused(call("ps", "--token-file", f"{cluster.directory}/some.token"), 4)
    return job


def jsons(cluster, job):
    """--json prints whole objects, one a line, for every command that prints data."""
    call = cluster.call
    shown = call("show", job, "--json").object()
    for field in ("id", "name", "owner", "state", "reason", "attempt", "ranks", "steps_done",
                  "steps_total", "checkpoints", "last_metrics"):
        check(field in shown, f"show --json has no {field}: {sorted(shown)}")
    check(shown["state"] == "SUCCEEDED" and shown["steps_done"] == 60 and shown["reason"] == "",
          f"show --json: {shown}")
    check(len(call("ps", "-a", "--json").objects()) == 1 and not call("ps", "--json").objects(),
          "ps --json")
    check(len(call("nodes", "--json").objects()) == cluster.workers, "nodes --json")
    check(len(call("metrics", job, "--json").objects()) == 60, "metrics --json")
    call("logs", job, "--json").objects()
    check(call("wait", job, "--json").object()["id"] == job, "wait --json")
    check("version" in call("version", "--json").object(), "version --json")
    check(len(call("schema", "--json").objects()) > 30, "schema --json")
    rows = call("metrics", job, "--csv").ok().out.splitlines()
    check(rows[0].startswith("step,") and len(rows) == 61, f"metrics --csv: {rows[:2]}")


def unwritable(cluster, job):
    """What could not be written is no success; what lies beside is not touched."""
    for arguments in (("metrics", job, "--csv"), ("ps", "-a"), ("show", job, "--json"),
                      ("logs", job)):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([cluster.muster, *map(str, arguments)], stdout=full,
                                  stderr=subprocess.PIPE, env=cluster.environment, check=False)
        check(done.returncode == 5 and b"could not be written" in done.stderr,
              f"{arguments} to a full disk: {done}")
    number_is_told(cluster)
    precious = f"{cluster.directory}/together.partial/precious"
    os.makedirs(os.path.dirname(precious))
    with open(precious, "w", encoding="utf-8"):
        pass
    pulls = [subprocess.Popen([cluster.muster, "pull", str(job), f"{cluster.directory}/together"],
                              stderr=subprocess.PIPE, env=cluster.environment)
             for _ in range(4)]
    errors = [pull.communicate()[1].decode() for pull in pulls]
    check(sum(pull.returncode == 0 for pull in pulls) == 1, f"four pulls at once: {errors}")
    check(all("not empty" in error for pull, error in zip(pulls, errors) if pull.returncode),
          f"four pulls at once: {errors}")
    check_model(f"{cluster.directory}/together")
    check(os.path.exists(precious), "pull has removed somebody's folder")
    refused(cluster.call("pull", job, ""), 2, "empty")


def number_is_told(cluster):
    """Of a job that was submitted, also when stdout is full or closed."""
    submit = f"{cluster.muster} submit {cluster.directory}/user.toml"
    for redirection in (">/dev/full", ">&-"):
        done = subprocess.run(f"{submit} {redirection}", shell=True, stderr=subprocess.PIPE,
                              env=cluster.environment, check=False, text=True)
        check(done.returncode == 5 and "submitted as job " in done.stderr, f"{redirection}: {done}")
        number = done.stderr.split("submitted as job ")[1].split("\n")[0]
        cluster.call("cancel", number, "--wait").ok()


def slow_coordinator(cluster, job):
    """A coordinator that is busy for a moment is waited for."""
    pid = cluster.coordinator_pid()
    harness.send(pid, signal.SIGSTOP)
    try:
        show = subprocess.Popen([cluster.muster, "show", str(job)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=cluster.environment)
        time.sleep(0.5)
    finally:
        harness.send(pid, signal.SIGCONT)
    out, error = show.communicate(timeout=30)
    check(show.returncode == 0 and out, f"show while the coordinator was busy: {error}")


def narrow(cluster, job):
    """On a terminal of 40 columns no line is wider, where the command draws for terminals."""
    for arguments in (("ps", "-a"), ("nodes",), ("submit", f"{cluster.directory}/user.toml", "-f")):
        text = on_terminal(cluster, arguments, 40)
        for line in text.replace("\r\n", "\n").split("\n"):
            drawn = strip_escapes(line).split("\r")
            if arguments[0] == "submit":
                drawn.pop()  # Prose that stays may wrap; what is drawn over must not.
            wide = [piece for piece in drawn if len(piece) > 40]
            check(not wide, f"{arguments} draws more than 40 columns: {wide}")
    check(str(job) in on_terminal(cluster, ("ps", "-a"), 40), "ps shows no job")
    waiting = [cluster.submit(f"{cluster.directory}/user.toml", "supervised.steps=1000000",
                              "resources.ranks=2") for _ in range(2)]
    cluster.wait_for_steps(waiting[0], 1)
    text = on_terminal(cluster, ("ps",), 40)
    check("REASON waits for" in text.split(f"\n{waiting[1]} ")[1], f"ps says no reason: {text}")
    for number in waiting:
        cluster.call("cancel", number, "--wait").ok()
    words = f"{cluster.muster} show {waiting[0]}"
    offered = subprocess.run(
        ["bash", "-c", f"source <({cluster.muster} completion bash); COMP_LINE='{words}'; "
                       f"COMP_WORDS=({words}); COMP_CWORD=2; _muster; echo ${{COMPREPLY[*]}}"],
        stdout=subprocess.PIPE, env=cluster.environment, check=False, text=True).stdout
    check(str(waiting[0]) in offered.split(), f"completion offers {offered!r}")


def controls(cluster):
    """What a program prints reaches files as it is, and a terminal without what that would obey."""
    path = f"{cluster.directory}/controls.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write('name = "controls"\n[command]\narguments = '
                   '["printf", \'a\\tb\\033[2J\\033[31mred\\n\']\n')
    job = cluster.submit(path)
    cluster.call("wait", job).ok()
    check("a\tb\x1b[2J\x1b[31mred\n" in cluster.call("logs", job).ok().out, "not as it was printed")
    text = on_terminal(cluster, ("logs", job), 80)
    check("b\\x1b[2J\x1b[31mred\x1b[0m" in text, f"obeyed by the terminal: {text!r}")


def strip_escapes(text):
    out, i = "", 0
    while i < len(text):
        if text[i] == "\x1b" and i + 1 < len(text) and text[i + 1] == "[":
            i += 2
            while i < len(text) and not text[i].isalpha():
                i += 1
        else:
            out += text[i]
        i += 1
    return out


def on_terminal(cluster, arguments, columns):
    """What the command prints when it runs on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen([cluster.muster, *map(str, arguments)], stdin=theirs, stdout=theirs,
                             stderr=theirs, env={**cluster.environment, "TERM": "xterm"},
                             start_new_session=True)
    cluster.children.append(child)
    os.close(theirs)
    text, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(ours, 65536)
        except OSError:  # The other end is closed: the command has ended.
            break
        text += piece
    os.close(ours)
    check(child.wait(5) == 0, f"{arguments} on a terminal: exit code {child.returncode}: {text}")
    return text.decode()


def killed_up(cluster, path):
    """`up` killed: the cluster outlives it, and the next `up` takes it up."""
    job = cluster.submit(path, "supervised.steps=4000", "resources.ranks=2",
                         "checkpoint.every_steps=500")
    cluster.wait_for_steps(job, 1)
    before = [cluster.coordinator_pid(), cluster.worker_pid(0), cluster.worker_pid(1)]
    supervisor = cluster.up_pid()
    check(supervisor and harness.send(supervisor, signal.SIGKILL), "no supervisor")
    harness.wait_until("the supervisor is gone", lambda: not harness.alive(supervisor))
    check(cluster.try_show(job)["attempt"] == 1, "the cluster did not outlive its supervisor")
    cluster.up()
    after = [cluster.coordinator_pid(), cluster.worker_pid(0), cluster.worker_pid(1)]
    check(before == after, f"processes {before} were not taken up but replaced by {after}")
    check(cluster.result(job)["attempt"] == 1, "the job was started again")
    # Taken up means watched, too.
    check(cluster.kill_worker(1), "no worker to kill")
    harness.wait_until("the worker is back", lambda: cluster.worker_pid(1) not in (0, after[2]))
    cluster.wait_for_nodes(2)


def down(cluster, path):
    job = cluster.submit(path, "supervised.steps=1000000", "resources.ranks=2")
    cluster.wait_for_steps(job, 1)
    cluster.down().ok()
    check(not cluster.leftovers(), f"down has left {cluster.leftovers()}")
    refused(cluster.call("ps"), 3, "muster up")
    cluster.up()  # The job is kept and goes on.
    cluster.wait_for_steps(job, 1)
    cluster.call("cancel", job).ok()
    cluster.down().ok()
    check(not cluster.leftovers(), f"down has left {cluster.leftovers()}")


def full_disk(muster):
    """A full disk is told, and nothing is lost once there is room again."""
    if os.geteuid() != 0:
        return "full disk: skipped, mounting a small file system needs root"
    with harness.Cluster(muster, workers=1) as cluster:
        os.mkdir(cluster.state)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", cluster.state],
                          capture_output=True, check=False).returncode != 0:
            return "full disk: skipped, no tmpfs can be mounted here"
        try:
            return fill_disk(cluster)
        except harness.Failure:
            cluster.print_logs()
            raise
        finally:
            cluster.call("down")
            subprocess.run(["umount", "-l", cluster.state], check=False)


def fill(path):
    try:
        with open(path, "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


def fill_disk(cluster):
    data = harness.write_data(f"{cluster.directory}/data")
    path = harness.write_job(f"{cluster.directory}/full.toml", data, "slow", steps=1000, batch=64,
                             every_steps=20)
    cluster.up()
    calm = harness.final_digest(cluster.result(cluster.submit(path)))
    job = cluster.submit(path)
    cluster.wait_for_steps(job, 20)
    ballast = f"{cluster.state}/ballast"
    fill(ballast)
    os.truncate(ballast, os.path.getsize(ballast) - (12 << 20))
    # Its ranks have room, the coordinator keeps that for its journal: the job says why it waits.
    harness.wait_until("the job says that it waits for room", lambda: re.search(
        r"wait.*has \d+\.\d MiB left, and keeps the last 32\.0 MiB",
        cluster.try_show(job)["reason"]), 30)
    check(cluster.try_show(job)["state"] == "RUNNING", "it does not run on")
    refused(cluster.call("submit", path), 5, "MiB left")
    fill(ballast)
    told = harness.wait_until("someone tells that the disk is full", lambda: told_full(
        cluster, job), 30)
    os.unlink(ballast)
    shown = cluster.result(job)
    check(not shown["reason"], f"there is room again, and it says {shown['reason']!r}")
    check(harness.final_digest(shown) == calm, "other bits after a full disk")
    harness.check_metrics(cluster.metrics(job), 1000)
    cluster.down().ok()
    fill(ballast)
    begin = time.monotonic()
    refused(cluster.call("up", "--detach"), 5, "to start: make room there")
    check(time.monotonic() - begin < 10, "`up` on a full disk takes its time to say so")
    os.unlink(ballast)
    return f"a full disk is told ({told.strip()[:90]}), and nothing is lost"


def told_full(cluster, job):
    """Where a user would look: the job's reason, the refusal of a submission, the logs."""
    shown = cluster.try_show(job)
    texts = [shown["reason"] if shown else ""]
    check(not shown or shown["state"] not in ("FAILED", "SUCCEEDED"),
          f"the job ended {shown and shown['state']} on a full disk: {shown and shown['reason']}")
    for name in ("coordinator.log", "workers/0/agent.log"):
        texts += read(cluster.path(name)).splitlines()
    return next((text for text in texts if "No space left" in text or "full" in text), "")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=2) as cluster:
        data = harness.write_data(f"{cluster.directory}/data")
        path = harness.write_job(f"{cluster.directory}/user.toml", data)
        typos(cluster)
        stopwatch.lap("typos and help")
        without_cluster(cluster, path)
        stopwatch.lap("without a cluster: exit code 3, `run` brings its own")
        interrupted(cluster, path)
        stopwatch.lap("Ctrl-C ends a private run")
        late_obstacle(cluster, path)
        stopwatch.lap("a model that cannot be written is kept")
        cluster.up()
        job = with_cluster(cluster, path)
        stopwatch.lap("submit --follow, --json, pull, another's token")
        unwritable(cluster, job)
        slow_coordinator(cluster, job)
        stopwatch.lap("a full stdout, pulls at once, a busy coordinator")
        narrow(cluster, job)
        controls(cluster)
        stopwatch.lap("40 columns, control characters")
        detaches(cluster, path)
        stopwatch.lap("Ctrl-C detaches; cancel, exit code 6")
        killed_up(cluster, path)
        stopwatch.lap("kill -9 of up: taken up again")
        down(cluster, path)
        stopwatch.lap("down leaves nothing and keeps the jobs")
    if shutil.which("mount"):
        stopwatch.lap(full_disk(arguments.muster))


if __name__ == "__main__":
    harness.run(__doc__, test)
