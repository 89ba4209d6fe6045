#!/usr/bin/env python3
"""What deploy/ holds fits this program: the units pass systemd-analyze and their command lines run
and stop as they say; the Dockerfile's files, packages and libraries exist; the compose file and
the sbatch script call the program as it is. (Run whole: docker_root, slurm.py, prometheus.py.)"""

import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

import dockerfile
import harness
from harness import check

SYSTEMD = pathlib.Path("deploy/systemd")
DOCKER = pathlib.Path("deploy/docker")
UNITS = ("muster-coordinator.service", "muster-worker@.service")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def settings(unit):
    """{name: [values]} of a unit file."""
    found = {}
    for line in (SYSTEMD / unit).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def verify_units(cluster):
    folder = pathlib.Path(cluster.directory, "units")
    folder.mkdir()
    for unit in UNITS:
        text = (SYSTEMD / unit).read_text()
        check(text.count("/usr/bin/muster ") == 1, f"{unit} starts something else")
        (folder / unit).write_text(text.replace("/usr/bin/muster ", f"{cluster.muster} "))
    done = output("systemd-analyze", "verify", *[str(folder / unit) for unit in UNITS])
    check(done.returncode == 0 and not done.stdout + done.stderr,
          f"systemd-analyze verify: {done.stdout}{done.stderr}")
    for unit in UNITS:
        # In tenths: 2.5 of 10 is what systemd calls OK.
        done = output("systemd-analyze", "security", "--offline=yes", "--threshold=25",
                      str(folder / unit))
        check(done.returncode == 0, f"{unit} is too exposed: {done.stdout[-300:]}{done.stderr}")
    users = (SYSTEMD / "muster.sysusers").read_text()
    for unit in UNITS:
        check(re.search(rf"^u {settings(unit)['User'][0]} ", users, re.MULTILINE),
              f"muster.sysusers does not make the user of {unit}")


def command_of(unit, cluster, instance, environment):
    """The command line that systemd makes of ExecStart: specifiers, then variables; one that is a
    word by itself is split (systemd.service(5))."""
    found = settings(unit)
    variables = dict(word.split("=", 1) for word in found.get("Environment", []))
    variables.update(environment)
    line = found["ExecStart"][0].replace("%S", cluster.directory).replace("%i", instance)
    words = []
    for word in line.split():
        if word.startswith("$") and not word.startswith("${"):
            words += shlex.split(variables.get(word[1:], ""))
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda name: variables[name[1]], word))
    return words[1:]


def run_units(cluster):
    coordinator, worker = (f"{cluster.directory}/{name}" for name in ("muster", "muster-worker"))
    cluster.environment["MUSTER_STATE"] = cluster.state = coordinator
    cluster.call("tls", "init", "--host", "127.0.0.1").ok()
    started = [cluster.start(*command_of(UNITS[0], cluster, "", {
        "MUSTER_LISTEN": "0.0.0.0:0", "MUSTER_ARGUMENTS": "--http-port 0 --store-max-gib 1"}))]
    harness.wait_until("the coordinator answers", cluster.reachable)
    token = f"{cluster.directory}/join.token"
    made = cluster.call("join-token").ok().out
    with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
        file.write(made)
    address = pathlib.Path(coordinator, "address").read_text().split()[0]
    cluster.call("worker", "join", "--state", worker, "--number", 3, "--coordinator", address,
                 "--token", token).ok()
    # A loopback address of this test's own: the unit gives the port.
    host = f"127.74.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
    started.append(cluster.start(*command_of(UNITS[1], cluster, "3", {
        "MUSTER_HTTP": host, "MUSTER_ARGUMENTS": "--slots 2 --cores 1"})))
    cluster.wait_for_nodes(1)
    found = pathlib.Path(worker, "workers/3/http_address").read_text().split()
    check(found == [f"{host}:7433"], f"the worker's HTTP is at {found}")
    for unit, process in zip(reversed(UNITS), reversed(started)):
        # KillMode=mixed: the signal goes to the first process only.
        check(settings(unit)["KillMode"] == ["mixed"], f"{unit}: another KillMode")
        process.send_signal(signal.SIGTERM)
        check(process.wait(int(settings(unit)["TimeoutStopSec"][0])) == 0, f"{unit} ended badly")


def check_dockerfile(cluster):
    stages = dockerfile.read(DOCKER / "Dockerfile")
    files = dockerfile.context_files()
    for stage in stages:
        for word, rest in stage.steps:
            origin, sources, _ = dockerfile.copy_words(rest) if word == "COPY" else (None, [], "")
            for source in sources:
                there = source == "." or source in files if origin is None else \
                    origin in [one.name for one in stages]
                check(there, f"COPY {rest}: there is no {source}")
    check(stages[-1].steps[-1][0] == "CMD" and ("USER", "muster") in stages[-1].steps,
          "the image does not run as muster")
    ignored = pathlib.Path(".gitignore").read_text().splitlines() + ["/.git/", "**/__pycache__/"]
    for line in pathlib.Path(".dockerignore").read_text().splitlines():
        check(line in ignored, f".dockerignore leaves out {line}, which git does not")
    packages = stages[-1].packages()
    known = output("apt-cache", "show", "--no-all-versions", *packages)
    missing = set(packages) - set(re.findall(r"^Package: (\S+)$", known.stdout, re.MULTILINE))
    check(packages and not missing, f"Debian has no {missing}")
    have = set(re.findall(r"^(\S+)$", output(
        "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
        "--no-breaks", "--no-replaces", "--no-enhances", *packages).stdout, re.MULTILINE))
    libraries = re.findall(r"=> (/\S+)", output("ldd", cluster.muster).stdout)
    # Those of no package (a library made by hand) are none of the image's business.
    owners = output("dpkg", "-S", *map(os.path.realpath, libraries)).stdout
    lacking = set(re.findall(r"^([^:]+):", owners, re.MULTILINE)) - have
    check(libraries and not lacking, f"the image lacks {lacking}")


def check_calls(cluster, name, text):
    """Every `muster COMMAND --option` in the text is one that the program has."""
    calls = re.findall(r'(?:"\$muster"|(?<![\w/.-])muster) ([a-z][\w-]*)((?: [^\n|&;]*)?)', text)
    check(calls, f"{name} never calls muster")
    for command, rest in calls:
        help_text = cluster.call(command, "--help").ok().out
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", rest):
            check(option in help_text, f"{name}: muster {command} has no {option}")


def check_compose(cluster):
    try:
        import yaml
    except ImportError:
        return "python3-yaml"
    composed = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services = composed["services"]
    check(set(services) == {"coordinator", "invitations", "worker-1", "worker-2", "prometheus"},
          f"services: {list(services)}")
    for name, service in services.items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            there = (DOCKER / source).exists() if source.startswith(".") else \
                source in composed["volumes"]
            check(there, f"{name}: there is no {source}")
        if name != "prometheus":
            check_calls(cluster, name, " ".join(service["command"]))
    for path, port in (("coordinators", 7421), ("workers", 7430)):
        for group in yaml.safe_load((DOCKER / f"targets/{path}.yml").read_text()):
            for target in group["targets"]:
                check(target.split(":")[0] in services and target.endswith(f":{port}"),
                      f"targets/{path}.yml: {target}")
    return None


def test(arguments, stopwatch):
    missing = []
    with harness.Cluster(arguments.muster) as cluster:
        if shutil.which("systemd-analyze"):
            verify_units(cluster)
            stopwatch.lap("systemd-analyze finds nothing wrong with the units")
        else:
            missing.append("systemd-analyze")
        run_units(cluster)
        stopwatch.lap("the units' commands run, and stop when they are asked to")
        if shutil.which("apt-cache"):
            check_dockerfile(cluster)
            stopwatch.lap("the Dockerfile's files, packages and libraries exist")
        else:
            missing.append("apt-cache")
        missing += filter(None, [check_compose(cluster)])
        script = pathlib.Path("deploy/slurm/muster.sbatch")
        check(output("bash", "-n", str(script)).returncode == 0, "the sbatch script has a typo")
        check_calls(cluster, script.name, "\n".join(
            line for line in script.read_text().splitlines() if not line.startswith("#")))
        stopwatch.lap("compose file and sbatch script call the program as it is")
    if missing:
        print(f"skipped in part: needs {', '.join(missing)}")
        sys.exit(77)


if __name__ == "__main__":
    harness.run(__doc__, test)
