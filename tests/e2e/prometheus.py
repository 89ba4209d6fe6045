#!/usr/bin/env python3
"""Debian's Prometheus over the shipped configuration: it reaches coordinator and workers with TLS,
finds the figures, and notices a worker that ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

import harness
from harness import check

MONITORING = "deploy/monitoring"


def promtool(*arguments, cwd):
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True,
                          timeout=60, check=False)
    check(done.returncode == 0, f"promtool {' '.join(arguments)}: {done.stdout}{done.stderr}")


def address(path):
    """HOST:PORT of an address file that says that there is TLS."""
    def read():
        try:
            with open(path, encoding="ascii") as file:
                return file.read().split()
        except FileNotFoundError:
            return None
    found = harness.wait_until(f"there is {path}", read)
    check(found[1:] == ["tls"], f"{path}: {found}")
    return found[0]


def start_cluster(cluster):
    """Two workers that have joined. Returns where Prometheus finds whom."""
    cluster.call("tls", "init", "--host", "127.0.0.1").ok()
    cluster.start("coordinator", "--listen", "0.0.0.0:0", "--http-port", "0")
    harness.wait_until("the coordinator answers", cluster.reachable)
    with open(cluster.path("address"), encoding="ascii") as file:
        coordinator = file.read().split()[0]
    for number in range(2):
        # Beyond loopback an agent without a certificate serves nothing.
        if number == 0:
            early = cluster.call("worker", "--http-listen", "0.0.0.0:0")
            check(early.code != 0 and "worker join" in early.err, f"HTTP without TLS: {early}")
        token = f"{cluster.directory}/{number}.token"
        made = cluster.call("join-token").ok().out
        with open(os.open(token, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(made)
        cluster.call("worker", "join", "--number", number, "--coordinator", coordinator, "--token",
                     token).ok()
        cluster.start_worker(number, "--http-listen", "0.0.0.0:0")
    cluster.wait_for_nodes(2)
    return {"coordinators": [address(cluster.path("http_address"))],
            "workers": [address(cluster.path("workers", str(n), "http_address"))
                        for n in range(2)]}


def configure(folder, cluster, targets):
    """The shipped files, with this cluster's addresses; asked every second, not every 15."""
    shutil.copytree(MONITORING, folder)
    path = f"{folder}/prometheus.yml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    check(text.count("interval: 15s") == 2, "the shipped intervals are others")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("interval: 15s", "interval: 1s"))
    os.makedirs(f"{folder}/tls")
    shutil.copy(cluster.path("tls", "authority.pem"), f"{folder}/tls/authority.pem")
    os.makedirs(f"{folder}/targets")
    for name, addresses in targets.items():
        with open(f"{folder}/targets/{name}.yml", "w", encoding="utf-8") as file:
            json.dump([{"targets": addresses}], file)  # JSON is YAML.


class Prometheus:
    def __init__(self, cluster, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        self.log = f"{cluster.directory}/prometheus.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml",
                 f"--storage.tsdb.path={cluster.directory}/tsdb",
                 f"--web.listen-address={self.address}"], stdout=log, stderr=log,
                env=cluster.environment)
        cluster.children.append(self.process)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expression):
        """{the values of the labels but the name's: value}"""
        data = self.get("query?" + urllib.parse.urlencode({"query": expression}))
        return [] if data is None else [(row["metric"], float(row["value"][1]))
                                        for row in data["result"]]

    def wait_for(self, expression, condition, seconds=20):
        return harness.wait_until(f"{expression} (now {self.query(expression)})", lambda: (
            lambda rows: rows if rows and condition(rows) else None)(self.query(expression)),
            seconds, 0.1)


def test(arguments, stopwatch):
    missing = [tool for tool in ("prometheus", "promtool") if not shutil.which(tool)]
    if missing:
        print(f"skipped: needs {', '.join(missing)} (Debian: prometheus)")
        sys.exit(77)
    with harness.Cluster(arguments.muster) as cluster:
        targets = start_cluster(cluster)
        folder = f"{cluster.directory}/monitoring"
        configure(folder, cluster, targets)
        promtool("check", "config", "prometheus.yml", cwd=folder)
        promtool("check", "rules", "rules.yml", cwd=folder)
        promtool("test", "rules", "rules_test.yml", cwd=folder)
        stopwatch.lap("a cluster with TLS; promtool finds nothing wrong")
        prometheus = Prometheus(cluster, folder)
        try:
            watch(cluster, prometheus, targets)
        except harness.Failure:
            with open(prometheus.log, encoding="utf-8", errors="replace") as log:
                print("---- prometheus", log.read()[-6000:], file=sys.stderr)
            raise
        stopwatch.lap("it sees all three, a job's ranks, and a worker that ends")
        prometheus.process.send_signal(signal.SIGTERM)
        prometheus.process.wait(20)


def watch(cluster, prometheus, targets):
    prometheus.wait_for("up", lambda rows: sorted(value for _, value in rows) == [1, 1, 1])
    rules = prometheus.get("rules")["groups"]
    bad = [rule for group in rules for rule in group["rules"] if rule.get("lastError")]
    check(len(rules) == 2 and not bad, f"rules: {bad or rules}")

    data = harness.write_data(f"{cluster.directory}/data")
    path = harness.write_job(f"{cluster.directory}/watched.toml", data, model="slow",
                             steps=1_000_000, ranks=2)
    job = cluster.submit(path)
    cluster.wait_for_steps(job, 3)
    prometheus.wait_for("sum(muster_worker_ranks{phase='running'})", lambda rows: rows[0][1] == 2)
    prometheus.wait_for("sum(muster_slots{state='used'})", lambda rows: rows[0][1] == 2)
    prometheus.wait_for("muster:slots_used:ratio", lambda rows: rows[0][1] == 1)
    prometheus.wait_for("min(muster_worker_ranks_resident_bytes)",
                        lambda rows: rows[0][1] > 1 << 20)
    prometheus.wait_for("min(increase(muster_worker_ranks_cpu_seconds_total[10s]))",
                        lambda rows: rows[0][1] > 0)
    prometheus.wait_for("max(muster_worker_coordinator_silence_seconds)",
                        lambda rows: rows[0][1] < 5)
    # Everybody may read it, so it says nothing of anybody's job.
    for series in prometheus.query("{__name__=~'muster_.*'}"):
        check("watched" not in str(series), f"a job's name: {series}")
    cluster.call("cancel", job, "--wait").ok()
    prometheus.wait_for("sum(muster_worker_slots{state='used'})", lambda rows: rows[0][1] == 0)

    check(cluster.kill_worker(1), "worker 1 was not there")
    down = prometheus.wait_for("up == 0", lambda rows: True)
    check([labels["instance"] for labels, _ in down] == [targets["workers"][1]], f"down: {down}")
    prometheus.wait_for("ALERTS{alertname='MusterWorkerDown', alertstate='pending'}",
                        lambda rows: rows[0][0]["instance"] == targets["workers"][1])


if __name__ == "__main__":
    harness.run(__doc__, test)
