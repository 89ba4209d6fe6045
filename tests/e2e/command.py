#!/usr/bin/env python3
"""[command]: any program as a job: what it is told, how it ends, what it keeps, what it leaves."""

import json
import os
import shutil
import subprocess
import sys

import harness
from harness import check, wait_until

# Adds up a vector over two processes, by MASTER_ADDR and MASTER_PORT alone.
ALL_REDUCE_C = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
enum { N = 1000 };
static int move(int s, char *at, size_t left, int out) {
  while (left > 0) {
    ssize_t n = out ? write(s, at, left) : read(s, at, left);
    if (n <= 0) return 1;
    at += n, left -= (size_t)n;
  }
  return 0;
}
int main(void) {
  int rank = atoi(getenv("RANK")), one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET};
  a.sin_port = htons((unsigned short)atoi(getenv("MASTER_PORT")));
  inet_pton(AF_INET, getenv("MASTER_ADDR"), &a.sin_addr);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (rank == 0) {
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (void *)&a, sizeof a) || listen(s, 1)) return perror("listen"), 10;
    s = accept(s, NULL, NULL);
  } else {
    for (int i = 0; connect(s, (void *)&a, sizeof a); ++i) {
      if (i == 500) return perror("connect"), 11;
      close(s), usleep(20000), s = socket(AF_INET, SOCK_STREAM, 0);
    }
  }
  double mine[N], other[N];
  for (int i = 0; i < N; ++i) mine[i] = i * (rank + 1);
  int failed = rank == 0 ? move(s, (char *)mine, sizeof mine, 1) || move(s, (char *)other, sizeof other, 0)
                         : move(s, (char *)other, sizeof other, 0) || move(s, (char *)mine, sizeof mine, 1);
  for (int i = 0; i < N && !failed; ++i) failed = mine[i] + other[i] != 3.0 * i;
  if (!failed) printf("sum is right on rank %d\n", rank);
  return failed ? 12 : 0;
}
"""

DDP_PY = """
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.manual_seed(dist.get_rank())
for _ in range(5):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
mine = torch.cat([p.detach().flatten() for p in model.parameters()])
both = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
dist.all_gather(both, mine)
assert all(torch.equal(one, mine) for one in both), "the ranks disagree"
print("ddp agrees on rank", dist.get_rank(), "of", dist.get_world_size(), flush=True)
dist.destroy_process_group()
"""


class Jobs:
    """Writes, runs and watches commands on a cluster; OUT is a folder that they write into."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.out = f"{cluster.directory}/out"
        os.makedirs(self.out)

    def path(self, name):
        return f"{self.out}/{name}"

    def read(self, name):
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def touch(self, name):
        with open(self.path(name), "w", encoding="utf-8"):
            pass

    def submit(self, name, arguments, ranks=1, more="", environment=None, failures_max=1):
        if isinstance(arguments, str):
            arguments = ["sh", "-c", arguments]
        variables = {"OUT": self.out, **(environment or {})}
        text = (f'name = "{name}"\n[resources]\nranks = {ranks}\n'
                f"[restart]\nfailures_max = {failures_max}\n"
                f"[command]\narguments = {json.dumps(arguments)}\n"
                + "".join(more.split("|")[1:]) + "[command.environment]\n"
                + "".join(f"{key} = {json.dumps(value)}\n" for key, value in variables.items())
                + more.split("|")[0])
        path = f"{self.cluster.directory}/{name}.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return self.cluster.submit(path)

    def ended(self, job, state, seconds=40):
        shown = wait_until(f"job {job} has ended", lambda: next(
            (one for one in [self.cluster.try_show(job)] if one and one["state"] in harness.ENDED),
            None), seconds)
        check(shown["state"] == state, f"job {job} ended {shown['state']}: {shown['reason']}")
        return shown

    def wait_for_file(self, name, seconds=30):
        wait_until(f"{name} is written", lambda: os.path.exists(self.path(name)), seconds)

    def folders(self):
        found = []
        for number in range(self.cluster.workers):
            folder = self.cluster.path("workers", str(number), "jobs")
            found += os.listdir(folder) if os.path.isdir(folder) else []
        return found


def marked(mark):
    """Processes that bear the mark in their environment or arguments."""
    mark = mark.encode()
    return [pid for pid in harness.processes() if pid != os.getpid() and harness.alive(pid) and
            (mark in harness.proc_bytes(pid, "environ") or
             mark in harness.proc_bytes(pid, "cmdline"))]


def environment(jobs):
    job = jobs.submit("environment", 'env > "$OUT/env-$RANK"; pwd > "$OUT/pwd-$RANK"; '
                      'ls -l /proc/self/fd/0 > "$OUT/input-$RANK"', ranks=2)
    jobs.ended(job, "SUCCEEDED")
    seen = []
    for rank in range(2):
        lines = jobs.read(f"env-{rank}").splitlines()
        told = dict(line.split("=", 1) for line in lines)
        seen.append(told)
        expected = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
                    "LOCAL_WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1",
                    "CUDA_VISIBLE_DEVICES": "", "MUSTER_JOB_ID": str(job),
                    "MUSTER_JOB_NAME": "environment", "MUSTER_ATTEMPT_NUMBER": "1",
                    "HOME": jobs.cluster.directory}
        for name, value in expected.items():
            check(told.get(name) == value, f"rank {rank}: {name} is {told.get(name)!r}")
        check(told["MUSTER_JOB_DIR"] == jobs.read(f"pwd-{rank}").strip(), "starts elsewhere")
        check("/dev/null" in jobs.read(f"input-{rank}"), jobs.read(f"input-{rank}"))
        check(not any("TOKEN" in name for name in told), f"a token: {sorted(told)}")
        check(harness.MARK not in told, "the agent's environment is passed on")
    check(seen[0]["MASTER_PORT"] == seen[1]["MASTER_PORT"], "the ranks meet at two ports")
    check(seen[0]["MUSTER_JOB_DIR"] != seen[1]["MUSTER_JOB_DIR"], "not on two workers")
    wait_until("the job's folders are gone", lambda: not jobs.folders())


def exit_codes(jobs):
    job = jobs.submit("code", 'trap "echo told > $OUT/told; exit 0" TERM; '
                      'touch "$OUT/up-$RANK"; '
                      'if [ $RANK = 1 ]; then while [ ! -e $OUT/up-0 ]; do sleep 0.05; done; '
                      'exit 3; fi; while :; do sleep 0.05; done', ranks=2)
    shown = jobs.ended(job, "FAILED")
    check(shown.get("exit_code") == 3, f"exit_code {shown.get('exit_code')}")
    check("rank 1" in shown["reason"] and "`sh` exited with code 3" in shown["reason"],
          shown["reason"])
    check(shown["attempt"] == 1 and not shown["infrastructure"], f"{shown}")
    check(jobs.cluster.call("wait", job).code == 1, "wait does not say that it failed")
    check("exit code  3" in jobs.cluster.call("show", job).ok().out, "show does not say")
    check(jobs.read("told") == "told\n", "the other rank had no SIGTERM, or no time")
    job = jobs.submit("crash", "kill -SEGV $$")
    shown = jobs.ended(job, "FAILED")
    check(shown["exit_code"] == 139 and "SIGSEGV" in shown["reason"], f"{shown['reason']}")
    job = jobs.submit("missing", ["no-such-program"])
    shown = jobs.ended(job, "FAILED")
    check("`no-such-program` is not in PATH" in shown["reason"], shown["reason"])
    job = jobs.submit("again", 'echo $MUSTER_ATTEMPT_NUMBER >> $OUT/tries; exit 1', failures_max=3)
    jobs.ended(job, "FAILED")
    check(jobs.read("tries") == "1\n2\n3\n", f"tries: {jobs.read('tries')!r}")


# Lives in a grandchild as well, which has left its session; the second attempt says who of the
# first it still sees.
STUBBORN = """
if [ $MUSTER_ATTEMPT_NUMBER = 1 ]; then
  trap "" TERM
  echo kept > $MUSTER_JOB_DIR/note
  setsid sh -c 'echo $$ >> $OUT/pids-NAME; touch $OUT/up-NAME-$RANK; exec sleep 4711' &
  echo $$ >> $OUT/pids-NAME
  while :; do sleep 0.1; done
fi
for pid in $(cat $OUT/pids-NAME); do
  state=$(sed 's/.*) //; s/ .*//' /proc/$pid/stat 2>/dev/null)
  [ -n "$state" ] && [ "$state" != Z ] && echo "$pid $state" >> $OUT/twins-NAME
done
cat $MUSTER_JOB_DIR/note > $OUT/note-NAME-$RANK
exit 0
"""


def killed(jobs, name, kill):
    job = jobs.submit(name, STUBBORN.replace("NAME", name), ranks=2)
    for rank in range(2):
        jobs.wait_for_file(f"up-{name}-{rank}")
    jobs.cluster.wait_for(job, "runs", lambda shown: shown["state"] == "RUNNING")
    check(kill(job), "hit nothing")
    shown = jobs.ended(job, "SUCCEEDED")
    check(shown["attempt"] == 2, f"{shown['attempt']} attempts")
    check(not jobs.read(f"twins-{name}"), f"two attempts at once: {jobs.read(f'twins-{name}')}")
    for rank in range(2):
        check(jobs.read(f"note-{name}-{rank}") == "kept\n", "MUSTER_JOB_DIR was not kept")


def kills(jobs):
    killed(jobs, "rank", lambda job: jobs.cluster.kill_ranks(job, lambda pids: pids[0]))

    def worker(job):
        del job
        return jobs.cluster.kill_worker(0)
    killed(jobs, "agent", worker)
    jobs.cluster.wait_for_nodes(2)


def time_limit(jobs):
    job = jobs.submit("limit", 'trap "echo saved > $MUSTER_CHECKPOINT_DIR/state; '
                      'touch $MUSTER_CHECKPOINT_DIR/COMPLETE" USR1; '
                      'echo $$ > $OUT/limit-pid; while :; do sleep 0.05; done',
                      more="[time_limit]\nseconds = 4\nwarning_seconds = 2\n")
    shown = jobs.ended(job, "FAILED")
    check(shown["reason"] == "time limit of 4 s reached", shown["reason"])
    used = shown["ended_ms"] - shown["started_ms"]
    check(used >= 4000, f"ended after {used} ms")
    check(not harness.alive(int(jobs.read("limit-pid"))), "its program runs on")
    check(len(shown["checkpoints"]) == 1, f"checkpoints: {shown['checkpoints']}")
    jobs.cluster.call("pull", job, jobs.path("pulled")).ok()
    check(jobs.read("pulled/state") == "saved\n", "another checkpoint was pulled")
    check(jobs.cluster.call("wait", job).code == 1, "wait does not say that it failed")
    # Without a trap the warning ends it, which is the limit's doing.
    job = jobs.submit("untrapped", ["sleep", "100"], more="[time_limit]\nseconds = 2\n")
    shown = jobs.ended(job, "FAILED")
    check(shown["reason"] == "time limit of 2 s reached", shown["reason"])


def trained_to_the_limit(jobs, data):
    """A recipe stops with a checkpoint when its time runs out."""
    path = harness.write_job(f"{jobs.cluster.directory}/training.toml", data, "slow", ranks=2,
                             steps=100000, every_steps=50000, batch=64)
    with open(path, "a", encoding="utf-8") as file:
        file.write("[time_limit]\nseconds = 4\nwarning_seconds = 2\n")
    shown = jobs.ended(jobs.cluster.submit(path), "FAILED")
    check(shown["reason"] == "time limit of 4 s reached", shown["reason"])
    check(shown["checkpoints"][-1]["step"] == shown["steps_done"] > 0,
          f"{shown['checkpoints']} after {shown['steps_done']} steps")


def checkpoints(jobs):
    job = jobs.submit("keeps", """
cd $MUSTER_CHECKPOINT_DIR
if [ $MUSTER_ATTEMPT_NUMBER = 1 ]; then
  echo one > state; touch COMPLETE
  while [ -e COMPLETE ]; do sleep 0.05; done
  echo lost > state; exit 1
fi
cat state > $OUT/found; echo two > state
""", failures_max=2)
    shown = jobs.ended(job, "SUCCEEDED")
    check(jobs.read("found") == "one\n", f"the second attempt found {jobs.read('found')!r}")
    check([c["step"] for c in shown["checkpoints"]] == [1, 2], f"{shown['checkpoints']}")
    jobs.cluster.call("pull", job, jobs.path("kept")).ok()
    check(jobs.read("kept/state") == "two\n", "the last state was not kept")
    job = jobs.submit("folder", "mkdir $MUSTER_CHECKPOINT_DIR/folder")
    check("plain file" in jobs.ended(job, "FAILED")["reason"], "a folder was kept")


def bombs(jobs):
    mark = f"bomb{os.getpid()}"
    job = jobs.submit("bomb", f"""
trap "" TERM
i=0
while [ $i -lt 60 ]; do
  setsid sh -c 'trap "" TERM; sleep 4712 & sleep 4712' {mark} &
  env -i sh -c 'trap "" TERM; sleep 4713; sleep 4713' {mark} &
  i=$((i+1))
done
touch $OUT/bomb-$RANK
while :; do sh -c 'sleep 0.2' {mark} & sleep 0.02; done
""", ranks=2, environment={"MARK": mark}, more="|grace_seconds = 1\n")
    for rank in range(2):
        jobs.wait_for_file(f"bomb-{rank}")
    most = len(marked(mark))
    check(most > 200, f"only {most} processes: not much of a bomb")
    jobs.cluster.call("cancel", job).ok()
    jobs.ended(job, "CANCELLED")
    left = marked(mark)
    check(not left, f"{len(left)} of {most} processes are left")


def ports(jobs):
    listener = """
import os, socket, time
listening = socket.create_server((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])))
open(os.environ["OUT"] + "/port-" + os.environ["MUSTER_JOB_ID"], "w").write(os.environ["MASTER_PORT"])
while not os.path.exists(os.environ["OUT"] + "/ports-done"): time.sleep(0.02)
"""
    both = [jobs.submit(f"port{i}", [sys.executable, "-c", listener]) for i in range(2)]
    for job in both:
        wait_until(f"job {job} listens", lambda one=job: jobs.read(f"port-{one}"))
    check(len({jobs.read(f"port-{job}") for job in both}) == 2, "two jobs at one port")
    jobs.touch("ports-done")
    for job in both:
        jobs.ended(job, "SUCCEEDED")


def c_program(jobs):
    source = jobs.path("all_reduce.c")
    with open(source, "w", encoding="utf-8") as file:
        file.write(ALL_REDUCE_C)
    program = jobs.path("all_reduce")
    subprocess.run([shutil.which("cc") or "gcc", "-O1", "-o", program, source], check=True)
    job = jobs.submit("sum", [program], ranks=2)
    jobs.ended(job, "SUCCEEDED")
    log = jobs.cluster.call("logs", job).ok().out
    check(log.count("sum is right on rank") == 2, log)


def shipped(jobs):
    """A folder of the submitter's, without what .musterignore names; a fresh copy each attempt."""
    folder = jobs.path("project")
    os.makedirs(f"{folder}/in")
    for name, text, mode in (("main.sh", '#!/bin/sh\ncat in/data >> "$OUT/shipped-$RANK"\n'
                              'test ! -e secret || exit 9\necho changed > in/data\n'
                              'test "$MUSTER_ATTEMPT_NUMBER" -gt 1\n', 0o755),
                             ("in/data", "as it was\n", 0o644), ("secret", "x", 0o600),
                             (".musterignore", "secret\n", 0o644)):
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{folder}/{name}", mode)
    job = jobs.submit("shipped", ["./main.sh"], ranks=2, failures_max=3,
                      more=f"|ship_directory = {json.dumps(folder)}\n")
    shown = jobs.ended(job, "SUCCEEDED")
    check(shown["attempt"] == 2, f"not the second attempt: {shown}")
    # Of the first attempt one rank failed; the other may have been ended before it read a line.
    seen = "".join(jobs.read(f"shipped-{rank}") for rank in range(2))
    check(seen in ("as it was\n" * 3, "as it was\n" * 4), seen)

    def copies():
        return [name for number in range(jobs.cluster.workers)
                for folder in [jobs.cluster.path("workers", str(number), "shipped")]
                if os.path.isdir(folder) for name in os.listdir(folder)]
    wait_until("no copy is left", lambda: not copies())


def python_with_torch():
    for python in ("/usr/bin/python3", shutil.which("python3"), sys.executable):
        if python and subprocess.run([python, "-c", "import torch.distributed"],
                                     capture_output=True, check=False).returncode == 0:
            return python
    return None


def ddp(jobs):
    python = python_with_torch()
    if python is None:
        return "skipped: no python3 here can import torch"
    with open(jobs.path("ddp.py"), "w", encoding="utf-8") as file:
        file.write(DDP_PY)
    job = jobs.submit("ddp", [python, jobs.path("ddp.py")], ranks=2)
    jobs.ended(job, "SUCCEEDED", 90)
    log = jobs.cluster.call("logs", job).ok().out
    check(log.count("ddp agrees on rank") == 2, log)
    return f"by {python}"


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=2, slots=1) as cluster:
        cluster.up()
        jobs = Jobs(cluster)
        data = harness.write_data(f"{cluster.directory}/data")
        parts = [(environment, "the environment of 2 ranks on 2 workers"),
                 (exit_codes, "exit codes"), (kills, "kill -9 of a rank and of an agent"),
                 (time_limit, "time limits, with and without a trap"),
                 (lambda one: trained_to_the_limit(one, data), "a recipe stops for its limit"),
                 (checkpoints, "checkpoints: kept, given back, refused"),
                 (bombs, "a fork bomb, cancelled"), (ports, "MASTER_PORT of two jobs at once"),
                 (shipped, "a shipped folder"),
                 (c_program, "a C program's all-reduce"), (ddp, "PyTorch DDP")]
        for part, what in parts:
            said = part(jobs)
            stopwatch.lap(what + (f" ({said})" if said else ""))
        wait_until("all slots are free", lambda: not any(
            node["slots_used"] for node in cluster.call("nodes", "--json").objects()))
        wait_until("no folder is left", lambda: not jobs.folders())


if __name__ == "__main__":
    harness.run(__doc__, test)
