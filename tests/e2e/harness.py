"""A cluster of real processes for the tests: starts, watches, kills and cleans up.

Only the standard library. Everything lies in one temporary directory; every process that was
started is ended by its pid when the cluster is closed.
"""

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

MARK = "E2E_CLUSTER"  # Environment variable that every process of a test inherits.
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


class Failure(AssertionError):
    """A promise that was not kept."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def wait_until(what, condition, seconds=30.0, poll=0.02):
    """Returns the first true value of condition(); a Failure that says what never came."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"after {seconds:g} s still not: {what}")
        time.sleep(poll)


# ---- Processes.


def alive(pid):
    """Whether it runs; a zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def send(pid, number):
    """Sends a signal; False when the process has ended."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


def holder(path):
    """The pid that holds a record lock on the file; 0 when none does."""
    try:
        with open(path, "r+b") as file:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except FileNotFoundError:
        return 0
    return 0 if answer[0] == fcntl.F_UNLCK else answer[4]


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def proc_bytes(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


# ---- The cluster.


class Result:
    """What a command printed and how it ended."""

    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    def __str__(self):
        return (f"`muster {' '.join(self.arguments)}`: exit code {self.code}\n"
                f"stdout: {self.out[-2000:]!r}\nstderr: {self.err[-2000:]!r}")

    def ok(self):
        check(self.code == 0, str(self))
        return self

    def objects(self):
        """The objects that --json printed, one a line."""
        return [json.loads(line) for line in self.ok().out.splitlines()]

    def object(self):
        found = self.objects()
        check(len(found) == 1, f"not one object: {self}")
        return found[0]


class Cluster:
    """A cluster on its own state directory. up() has it supervised; start_coordinator() and
    start_worker() run its processes singly, for tests that must keep one away."""

    def __init__(self, muster, workers=2, slots=1, state=None):
        self.muster = os.path.abspath(muster)
        self.directory = tempfile.mkdtemp(prefix="muster-e2e-")
        self.state = state or os.path.join(self.directory, "state")
        self.workers, self.slots = workers, slots
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("MUSTER_")}
        self.environment.update({MARK: self.directory, "MUSTER_STATE": self.state,
                                 "HOME": self.directory, "XDG_STATE_HOME": self.directory + "/xdg"})
        self.children = []
        self.job_ids = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is not None:
                self.print_logs()
        finally:
            self.close()

    # -- Commands.

    def call(self, *arguments, seconds=60, stdin=subprocess.DEVNULL, cwd=None, environment=None):
        """Runs `muster ARGUMENTS` to its end."""
        arguments = [str(argument) for argument in arguments]
        try:
            done = subprocess.run([self.muster, *arguments], stdin=stdin, capture_output=True,
                                  timeout=seconds, cwd=cwd,
                                  env={**self.environment, **(environment or {})}, check=False)
        except subprocess.TimeoutExpired as expired:
            raise Failure(f"`muster {' '.join(arguments)}` still ran after {seconds} s; it had "
                          f"printed {expired.stdout!r} and {expired.stderr!r}") from None
        return Result(arguments, done.returncode, done.stdout.decode(errors="replace"),
                      done.stderr.decode(errors="replace"))

    def start(self, *arguments, log=None, environment=None):
        """Starts `muster ARGUMENTS` and returns the process."""
        with open(log or os.path.join(self.directory, "start.log"), "ab") as output:
            child = subprocess.Popen([self.muster, *[str(argument) for argument in arguments]],
                                     stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     env={**self.environment, **(environment or {})},
                                     start_new_session=True)
        self.children.append(child)
        return child

    def up(self):
        self.call("up", "--workers", self.workers, "--slots", self.slots, "--detach").ok()
        self.wait_for_nodes(self.workers)

    def down(self):
        return self.call("down")

    def start_coordinator(self, listen="127.0.0.1:0"):
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        child = self.start("coordinator", "--state", self.state, "--listen", listen,
                           "--http-port", "0", log=self.path("coordinator.log"))
        wait_until("the coordinator answers", lambda: self.reachable() or self.ended(child))
        return child

    def start_worker(self, number, *more):
        os.makedirs(self.path("workers", str(number)), mode=0o700, exist_ok=True)
        return self.start("worker", "--number", number, "--state", self.state, "--slots",
                          self.slots, *more, log=self.path("workers", str(number), "agent.log"))

    @staticmethod
    def ended(child):
        check(child.poll() is None, f"`muster {child.args[1]}` ended: code {child.returncode}")
        return False

    def reachable(self):
        return self.call("ps", "--json").code == 0

    def wait_for_nodes(self, count):
        def ready():
            result = self.call("nodes", "--json")
            return result.code == 0 and count <= sum(
                node["state"] == "ready" for node in result.objects())
        wait_until(f"{count} workers are ready", ready)

    # -- Jobs.

    def submit(self, path, *more):
        """The new job's id; `more`: KEY=VALUE."""
        sets = [word for setting in more for word in ("--set", setting)]
        out = self.call("submit", path, *sets, seconds=150).ok().out
        check(out.strip().isdigit() and out.count("\n") == 1, f"submit printed {out!r}")
        self.job_ids.append(int(out))
        return int(out)

    def show(self, job):
        return self.call("show", job, "--json").object()

    def try_show(self, job):
        """None while the coordinator is away."""
        result = self.call("show", job, "--json")
        return result.object() if result.code == 0 else None

    def wait_for(self, job, what, condition, seconds=60):
        """Waits until condition(show) holds; a job that ends before never makes it."""
        def look():
            shown = self.try_show(job)
            if shown is None:
                return None
            if condition(shown):
                return shown
            check(shown["state"] not in ENDED,
                  f"job {job} ended before it {what}: {shown['state']} {shown['reason']}")
            return None
        return wait_until(f"job {job} {what}", look, seconds)

    def wait_for_steps(self, job, steps, seconds=60):
        return self.wait_for(job, f"has done {steps} steps", lambda shown: shown["state"] ==
                             "RUNNING" and shown["steps_done"] >= steps, seconds)

    def result(self, job, seconds=120):
        """Waits for the end of a job, which must succeed."""
        shown = wait_until(f"job {job} has ended", lambda: next(
            (one for one in [self.try_show(job)] if one and one["state"] in ENDED), None), seconds)
        check(shown["state"] == "SUCCEEDED",
              f"job {job} ended {shown['state']}: {shown['reason']}")
        return shown

    def metrics(self, job):
        return self.call("metrics", job, "--json").objects()

    def rank_pids(self, job):
        shown = self.try_show(job)
        return [rank["pid"] for rank in shown["ranks"] if rank["pid"]] if shown else []

    # -- Finding processes.

    def path(self, *parts):
        return os.path.join(self.state, *parts)

    def coordinator_pid(self):
        return holder(self.path("coordinator.lock"))

    def worker_pid(self, number):
        return holder(self.path("workers", str(number), "lock"))

    def up_pid(self):
        return holder(self.path("up.lock"))

    def kill_coordinator(self):
        return self._kill(self.coordinator_pid())

    def kill_worker(self, number):
        return self._kill(self.worker_pid(number))

    def kill_ranks(self, job, chosen=None):
        """kill -9 of one rank of the job, or of all."""
        pids = self.rank_pids(job)
        return any([self._kill(pid) for pid in (pids if chosen is None else [chosen(pids)])
                    if pid]) if pids else False

    @staticmethod
    def _kill(pid):
        """Whether it hit a live process."""
        if pid == 0 or not alive(pid):
            return False
        hit = send(pid, signal.SIGKILL)
        wait_until(f"process {pid} has ended", lambda: not alive(pid), 10, 0.002)
        return hit

    def leftovers(self):
        """Processes that descend from this test and still run, other than commands."""
        mark = f"{MARK}={self.directory}".encode()
        folder = self.directory.encode()
        return [pid for pid in processes() if pid != os.getpid() and alive(pid) and
                (mark in proc_bytes(pid, "environ").split(b"\0") or
                 folder in proc_bytes(pid, "cmdline"))]

    def close(self):
        # What was killed before leaves shared memory that only an agent removes: end it in order.
        if self.leftovers():
            try:
                self.call("down", seconds=30)
            except Failure:
                pass  # Killed below.
        for _ in range(50):
            left = self.leftovers()
            # Supervisors first: they would start the others again.
            left.sort(key=lambda pid: b"\0up\0" not in proc_bytes(pid, "cmdline"))
            for pid in left:
                send(pid, signal.SIGKILL)
            for child in self.children:
                child.poll()
            if not left:
                break
            time.sleep(0.05)
        shutil.rmtree(self.directory, ignore_errors=True)

    def print_logs(self, lines=60):
        """The ends of all logs, to stderr."""
        paths = [self.path("coordinator.log"), self.path("up.log"),
                 os.path.join(self.directory, "start.log")]
        for root, _, names in os.walk(self.path("workers")):
            paths += [os.path.join(root, name) for name in names if name in ("agent.log", "log")]
        for path in paths:
            try:
                with open(path, "rb") as file:
                    text = file.read().decode(errors="replace").splitlines()[-lines:]
            except OSError:
                continue
            print(f"---- {path}", *text, sep="\n", file=sys.stderr)
        for job in self.job_ids[-3:]:
            for command in ("show", "logs"):
                try:
                    print(f"---- muster {command} {job}", self.call(command, job, seconds=10),
                          sep="\n", file=sys.stderr)
                except Failure as failure:
                    print(failure, file=sys.stderr)


# ---- Data and job files.


def write_idx(path, shape, values):
    """An IDX file of bytes."""
    with open(path, "wb") as file:
        file.write(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values)


def write_data(directory, samples=512, side=12, classes=4, seed=1):
    """Images that can be learnt: a pattern a class under noise. Returns the folder."""
    chooser = random.Random(seed)
    os.makedirs(directory, exist_ok=True)
    patterns = [chooser.randbytes(side * side) for _ in range(classes)]
    for name, count in (("train", samples), ("test", samples // 4)):
        labels = bytes(chooser.randrange(classes) for _ in range(count))
        images = bytearray()
        for label in labels:
            noise = chooser.randbytes(side * side)
            images += bytes((a + b) >> 1 for a, b in zip(patterns[label], noise))
        write_idx(f"{directory}/{name}-images", (count, side, side), bytes(images))
        write_idx(f"{directory}/{name}-labels", (count,), labels)
    return directory


MODELS = {
    # Milliseconds a step ...
    "mlp": "[supervised.model.mlp]\nhidden = [32]\n",
    "cnn": "[supervised.model.cnn]\nchannels = [8]\nhidden = [16]\n",
    # ... with three blocks of parameters, for what is sharded by blocks ...
    "wide": "[supervised.model.mlp]\nhidden = [1000]\n",
    # ... and tens of them, with small checkpoints: for what has to hit the middle of a job.
    # The same, ended early: no accuracy is above another by more than 1, so that only the first of
    # the evaluations counts. With one every 10 steps it ends after step 60.
    "early": "[supervised.model.resnet]\nstages = 2\nblocks = 1\n"
             "[supervised.augment]\nshift_max = 2\nflip = true\n"
             "[supervised.early_stop]\npatience = 5\nmin_delta = 1.0\n",
    "slow": "[supervised.model.cnn]\nchannels = [48, 96]\nkernel_size = 5\nhidden = [32]\n",
}


def write_job(path, data, model="mlp", steps=60, ranks=1, lanes=4, batch=64, every_steps=5,
              keep_last=3, evaluate_every=20, threads=1):
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""name = "{os.path.basename(path).split('.')[0]}"
seed = 7
lanes = {lanes}

[resources]
ranks = {ranks}
threads_per_rank = {threads}

[checkpoint]
every_steps = {every_steps}
keep_last = {keep_last}

[supervised]
steps = {steps}
batch_size = {batch}
evaluate_every_steps = {evaluate_every}

[supervised.data]
train_images = "{data}/train-images"
train_labels = "{data}/train-labels"
test_images = "{data}/test-images"
test_labels = "{data}/test-labels"
validation_samples = 64

{MODELS[model]}
[supervised.optimizer]
kind = "adamw"
learning_rate = 2e-3
schedule = "cosine"
warmup_steps = 10
gradient_clip_norm = 1.0
""")
    return path


def final_digest(shown):
    """SHA-256 of the last step's checkpoint."""
    last = max(shown["checkpoints"], key=lambda checkpoint: checkpoint["step"])
    check(last["step"] == shown["steps_total"] == shown["steps_done"],
          f"the last checkpoint is of step {last['step']}, not {shown['steps_total']}")
    return last["sha256"]


def check_metrics(rows, steps):
    """Rows 1..steps, complete, in order, none twice."""
    seen = [row["step"] for row in rows]
    check(seen == list(range(1, steps + 1)),
          f"metrics rows are not 1..{steps}: {len(seen)} rows, {len(set(seen))} steps, first "
          f"wrong at row {next((i for i, s in enumerate(seen) if s != i + 1), len(seen))}: "
          f"{seen[:3]}..{seen[-3:]}")


# ---- Scripts.


class Stopwatch:
    """Prints what each part of a test took."""

    def __init__(self):
        self.begin = self.last = time.monotonic()

    def lap(self, what):
        now = time.monotonic()
        print(f"{now - self.last:7.2f} s  {what}", flush=True)
        self.last = now


def run(description, test, options=()):
    """The main of a test: test(arguments, stopwatch). `options`: (name, default, help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("muster", nargs="?", default="build/release/cli/muster",
                        help="the program")
    for name, default, words in options:
        parser.add_argument(name, type=type(default), default=default, help=words)
    arguments = parser.parse_args()
    arguments.muster = os.path.abspath(arguments.muster)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that `finally` runs.
    stopwatch = Stopwatch()
    try:
        test(arguments, stopwatch)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        raise SystemExit(1) from failure
    print(f"{time.monotonic() - stopwatch.begin:7.2f} s  in all; passed")
