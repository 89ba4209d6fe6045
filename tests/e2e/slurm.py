#!/usr/bin/env python3
"""Debian's Slurm, one node, brought up here as root: the sbatch script runs a job to the bits of a
plain run, ends with its exit code, and leaves nothing."""

import hashlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import harness
from harness import check

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "setpriv")
CONFIGURATION = """ClusterName=e2e
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldParameters=enable_configless
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
SlurmctldPort={controller}
SlurmdPort={daemon}
SrunPortRange={first}-{last}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
KillWait=30
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Slurm:
    def __init__(self, cluster):
        # Munge wants nobody but root and itself to be able to write above its socket.
        self.folder = tempfile.mkdtemp(prefix="muster-slurm-", dir="/run")
        os.chmod(self.folder, 0o755)
        self.environment = {**cluster.environment, "SLURM_CONF": f"{self.folder}/slurm.conf"}
        self.children = []

    def start(self):
        controller, daemon, first = free_ports(3)
        for name in ("state", "spool"):
            os.makedirs(f"{self.folder}/{name}")
        with open(f"{self.folder}/slurm.conf", "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(
                host=socket.gethostname().split(".")[0], folder=self.folder, controller=controller,
                daemon=daemon, first=max(first - 100, 1024), last=first))
        munge = f"{self.folder}/munge"
        os.makedirs(munge, mode=0o700)
        with open(f"{munge}/key", "wb") as file:
            file.write(os.urandom(1024))
        os.chmod(f"{munge}/key", 0o600)
        for path in (munge, f"{munge}/key"):
            shutil.chown(path, "munge", "munge")
        # Its socket is for everybody, its own folder for nobody else.
        socket_folder = f"{self.folder}/socket"
        os.makedirs(socket_folder, mode=0o755)
        shutil.chown(socket_folder, "munge", "munge")
        os.symlink(f"{socket_folder}/socket", f"{self.folder}/munge.socket")
        self.run("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged",
                 "--foreground", f"--key-file={munge}/key",
                 f"--socket={socket_folder}/socket", f"--pid-file={munge}/pid",
                 f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        harness.wait_until("munged listens", lambda: os.path.exists(f"{socket_folder}/socket"))
        self.run("slurmctld", "-D", "-c")
        self.run("slurmd", "-D", "-N", socket.gethostname().split(".")[0])
        harness.wait_until("the node is idle", lambda: "IDLE" in self.call(
            "scontrol", "--oneliner", "show", "node").stdout)

    def run(self, *command):
        with open(f"{self.folder}/{len(self.children)}.log", "wb") as log:
            self.children.append(subprocess.Popen(command, env=self.environment, stdout=log,
                                                  stderr=log, stdin=subprocess.DEVNULL))

    def call(self, *command, cwd=None, more=None, seconds=60):
        return subprocess.run(command, env={**self.environment, **(more or {})}, cwd=cwd,
                              capture_output=True, text=True, timeout=seconds, check=False)

    def close(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def print_logs(self):
        for path in sorted(pathlib.Path(self.folder).rglob("*")):
            if path.name.endswith("log") and path.is_file():
                print(f"---- {path}", path.read_text(errors="replace")[-3000:], file=sys.stderr)


class Batch:
    """The shipped script in the queue. (sbatch --wait looks every few seconds only.)"""

    def __init__(self, slurm, cluster, *arguments):
        self.slurm, self.log = slurm, tempfile.mktemp(prefix="out-", dir=cluster.directory)
        done = slurm.call("sbatch", "--parsable", "--export=ALL", f"--output={self.log}",
                          "--time=5", "--cpus-per-task=2",
                          os.path.abspath("deploy/slurm/muster.sbatch"), *arguments,
                          cwd=cluster.directory,
                          more={"MUSTER": cluster.muster, "MUSTER_SLOTS": "2",
                                "TMPDIR": cluster.directory})
        check(done.returncode == 0, f"sbatch: {done.stderr}")
        self.job = done.stdout.strip()

    def text(self):
        path = pathlib.Path(self.log)
        return path.read_text(errors="replace") if path.exists() else ""

    def look(self):
        shown = self.slurm.call("scontrol", "--oneliner", "show", "job", self.job).stdout
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        return fields.get("JobState", ""), fields.get("ExitCode", "")

    def end(self):
        """(state, exit code, output) when Slurm has put it away."""
        state, code = harness.wait_until(f"Slurm's job {self.job} ends: {self.text()}", lambda: (
            lambda found: found if found[0] not in ("PENDING", "RUNNING", "COMPLETING", "")
            else None)(self.look()), 60, 0.1)
        return state, int(code.split(":")[0]), self.text()


def left(cluster):
    return [name for name in os.listdir(cluster.directory) if name.startswith("muster-state-")]


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def test(arguments, stopwatch):
    missing = [] if os.geteuid() == 0 else ["root"]
    missing += [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        print(f"skipped: needs {', '.join(missing)} (Debian: slurm-wlm, munge)")
        sys.exit(77)
    with harness.Cluster(arguments.muster) as cluster:
        slurm = Slurm(cluster)
        try:
            slurm.start()
            stopwatch.lap("Slurm is up")
            in_slurm(cluster, slurm, stopwatch)
        except BaseException:
            slurm.print_logs()
            raise
        finally:
            slurm.close()


def in_slurm(cluster, slurm, stopwatch):
    data = harness.write_data(f"{cluster.directory}/data")
    path = harness.write_job(f"{cluster.directory}/job.toml", data, steps=60, ranks=2)
    plain = f"{cluster.directory}/plain"
    cluster.call("run", path, "--set", "resources.ranks=1", "--output", plain).ok()
    stopwatch.lap("a plain run on one rank")

    _, code, text = Batch(slurm, cluster, path).end()
    check(code == 0, f"exit code {code}: {text}")
    models = [name for name in os.listdir(cluster.directory) if name.startswith("muster-")]
    check(len(models) == 1, f"not one model: {models}: {text}")
    model = f"{cluster.directory}/{models[0]}"
    check(sha256(f"{model}/manifest.json") == sha256(f"{plain}/manifest.json"),
          f"other bits than a plain run: {text}")
    stopwatch.lap("two ranks in an allocation: the bits of the plain run")

    bad = f"{cluster.directory}/bad.toml"
    with open(bad, "w", encoding="ascii") as file:
        file.write('name = "bad"\n[command]\narguments = ["sh", "-c", "exit 7"]\n')
    _, code, text = Batch(slurm, cluster, bad).end()
    check(code == 1 and "7" in text, f"a job that fails by itself: exit code {code}: {text}")
    _, code, text = Batch(slurm, cluster, f"{cluster.directory}/nowhere.toml").end()
    check(code == 2 and "nowhere.toml" in text, f"no such file: exit code {code}: {text}")
    stopwatch.lap("the job's exit code is Slurm's")
    nothing_left(cluster)

    endless = harness.write_job(f"{cluster.directory}/endless.toml", data, steps=1_000_000)
    # What Slurm itself does a minute before the limit, and what a person does.
    for how, words in (("the signal before the time limit", ["--batch", "--signal=TERM"]),
                       ("scancel", [])):
        batch = Batch(slurm, cluster, endless)
        harness.wait_until("the job runs", lambda: "RUNNING " in batch.text(), 60)
        check(slurm.call("scancel", *words, batch.job).returncode == 0, "scancel")
        state, code, text = batch.end()
        check(state == "CANCELLED" if not words else (state, code) == ("FAILED", 6),
              f"{how}: {state}, exit code {code}: {text}")
        harness.wait_until(f"{how} leaves nothing", lambda: not left(cluster), 20)
        nothing_left(cluster)
        stopwatch.lap(f"{how}: the job is cancelled, and nothing is left")


def nothing_left(cluster):
    check(not left(cluster), f"state is left: {left(cluster)}")
    processes = [pid for pid in cluster.leftovers()
                 if cluster.muster.encode() in harness.proc_bytes(pid, "cmdline")]
    check(not processes, f"processes are left: {processes}")


if __name__ == "__main__":
    harness.run(__doc__, test)
