#!/usr/bin/env python3
"""Several people on one cluster: each reaches what the role allows, limits hold, tokens end, and no
file of the cluster holds one that logs in."""

import json
import os
import sqlite3
import stat

import harness
from harness import check, wait_until

JOB = "lanes = 2\n[resources]\nranks = 1\n[collective]\nsteps = {steps}\nbytes = 16777216\n"
ENDLESS = 10**11
NOT_FOUND, NOT_ALLOWED, EXHAUSTED = 2, 4, 5


class People:
    """Users of a cluster, each with a token in a file."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.tokens = {}
        self.files = {}

    def take(self, name, token):
        check(len(token) == 64, f"not a token: {token!r}")
        self.tokens[name] = token
        self.files[name] = os.path.join(self.cluster.directory, name + ".token")
        with open(os.open(self.files[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                  "w", encoding="ascii") as file:
            file.write(token + "\n")

    def add(self, name, role, *more):
        result = self.cluster.call("user", "add", name, "--role", role, *more).ok()
        self.take(name, result.out.strip())
        check(self.tokens[name] not in result.err, "the token is on stderr as well")

    def call(self, name, *arguments, **more):
        return self.cluster.call(*arguments, environment={"MUSTER_TOKEN_FILE": self.files[name]},
                                 **more)

    def refused(self, name, code, *arguments):
        result = self.call(name, *arguments)
        check(result.code == code, f"{name} gets {result.code}, not {code}: {result}")
        check(all(token not in result.err + result.out for token in self.tokens.values()),
              f"a token is told: {result}")
        return result.err

    def submit(self, name, steps=ENDLESS):
        path = os.path.join(self.cluster.directory, f"{name}-{steps}.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'name = "{name}s-secret"\n' + JOB.format(steps=steps))
        return path, self.call(name, "submit", path, "--json")

    def submitted(self, name, steps=ENDLESS):
        return self.submit(name, steps)[1].object()["id"]


def about(job, directory):
    """Every command that names a job, with its RPC."""
    return [("GetJob", ("show", job)), ("CancelJob", ("cancel", job)),
            ("ResumeJob", ("resume", job, "--allow-new-numerics")), ("WatchJob", ("wait", job)),
            ("Logs", ("logs", job)), ("Metrics", ("metrics", job)),
            ("DownloadCheckpoint", ("pull", job, os.path.join(directory, "pulled")))]


ADMINISTER = [("user", "add", "mallory"), ("user", "disable", "the_bob"), ("user", "enable", "the_bob"),
              ("user", "limits", "the_bob", "--running", "0"), ("user", "token", "the_bob")]


def audit(cluster):
    with open(cluster.path("coordinator", "audit.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_roles(cluster, people):
    """Bob's job runs; the_ada is a student, the_grace an assistant, the_eve an administrator."""
    job = people.submitted("the_bob")
    cluster.wait_for(job, "runs", lambda shown: shown["state"] == "RUNNING")
    for rpc, command in about(job, cluster.directory):
        told = people.refused("the_ada", NOT_FOUND, *command)
        check(f"no job {job}: the_ada (student) reaches own jobs only" in told, f"{rpc}: {told}")
        other = people.refused("the_ada", NOT_FOUND, *[999 if word == job else word
                                                   for word in command])
        check(other == told.replace(str(job), "999"), f"{rpc} tells whether a job exists: {other}")
    check(cluster.show(job)["state"] == "RUNNING", "a student has ended another's job")
    entry = next(one for one in people.call("the_ada", "ps", "-a", "--json").objects()
                 if one["id"] == job)
    check("secret" not in json.dumps(entry) and "the_bob" not in json.dumps(entry), f"told: {entry}")
    check(entry["state"] == "RUNNING" and entry["spec"]["resources"]["ranks"] == 1, f"{entry}")
    check("secret" not in people.call("the_ada", "ps", "-a").ok().out, "ps tells the name")
    for command in [*ADMINISTER, ("user", "list"), ("user", "token", "the_bob", "--list")]:
        told = people.refused("the_ada", NOT_ALLOWED, *command)
        check("the_ada (student) may" in told, told)
    people.call("the_ada", "user", "token", "the_ada", "--list").ok()
    for command in (("show", job), ("logs", job), ("metrics", job), ("user", "list")):
        people.call("the_grace", *command).ok()
    people.refused("the_grace", NOT_FOUND, "resume", job, "--allow-new-numerics")
    for command in ADMINISTER:
        people.refused("the_grace", NOT_ALLOWED, *command)
    people.call("the_grace", "cancel", job, "--wait").ok()
    check(cluster.show(job)["reason"] == "cancelled by the_grace", "who cancelled is not told")
    check(all(one["id"] != job for one in people.call("the_ada", "ps", "-a", "--json").objects()),
          "another's ended job is listed")
    people.call("the_eve", "user", "limits", "the_ada", "--running", "1", "--queued", "2").ok()


def test_limits(cluster, people):
    """Ada may have 1 running and 2 queued jobs; nobody waits for hers."""
    first = people.submitted("the_ada")
    cluster.wait_for(first, "runs", lambda shown: shown["state"] == "RUNNING")
    second, third = people.submitted("the_ada"), people.submitted("the_ada")
    limit = "waits: the_ada already has 1 running job, and the limit is 1"
    cluster.wait_for(second, "says why", lambda shown: shown["reason"] == limit)
    path, result = people.submit("the_ada")
    check(result.code == EXHAUSTED and "the_ada (student) already has 2 queued jobs" in result.err,
          f"{path}: {result}")
    bobs = people.submitted("the_bob", steps=3)
    cluster.result(bobs)
    check(cluster.show(second)["state"] == "QUEUED", "beyond the limit")
    people.call("the_ada", "cancel", first).ok()
    cluster.wait_for(second, "runs", lambda shown: shown["state"] == "RUNNING")
    check(cluster.show(third)["state"] == "QUEUED", "beyond the limit")
    for job in (second, third):
        people.call("the_ada", "cancel", job, "--wait").ok()


def test_disabled(cluster, people):
    """A follower ends within seconds; a queued job stays and says why."""
    cluster.call("user", "limits", "the_bob", "--running", "1").ok()
    running, queued = people.submitted("the_bob"), people.submitted("the_bob")
    cluster.wait_for(running, "runs", lambda shown: shown["state"] == "RUNNING")
    heard = os.path.join(cluster.directory, "heard.log")
    follower = cluster.start("logs", "-f", running, log=heard,
                             environment={"MUSTER_TOKEN_FILE": people.files["the_bob"]})
    wait_until("the follower follows", lambda: os.path.getsize(heard) > 0)
    cluster.call("user", "disable", "the_bob").ok()
    told = people.refused("the_bob", NOT_ALLOWED, "show", running)
    check("the_bob (student) is disabled" in told, told)
    check(wait_until("the follower ends", lambda: follower.poll() is not None and
                     follower.returncode, 10) == NOT_ALLOWED, "it ended otherwise")
    cluster.call("cancel", running, "--wait").ok()
    cluster.wait_for(queued, "says why",
                     lambda shown: shown["reason"] == "waits: its owner the_bob is disabled")
    cluster.call("user", "enable", "the_bob").ok()
    cluster.wait_for(queued, "runs", lambda shown: shown["state"] == "RUNNING")
    people.call("the_bob", "cancel", queued, "--wait").ok()


def test_tokens(cluster, people):
    """Wrong, none, revoked, expired, of a worker; and a student's used as a worker's."""
    old = people.tokens["the_ada"]
    people.take("the_ada", cluster.call("user", "token", "the_ada", "--label", "new").ok().out.strip())
    people.take("the_ada-old", old)
    listed = cluster.call("user", "token", "the_ada", "--list", "--json").objects()
    check([one["label"] for one in listed] == ["", "new"], f"{listed}")
    cluster.call("user", "token", "the_ada", "--revoke", listed[0]["id"]).ok()
    check("revoked" in people.refused("the_ada-old", NOT_ALLOWED, "ps"), "it does not say why")
    people.call("the_ada", "ps").ok()
    people.take("wrong", "0" * 64)
    check("not valid" in people.refused("wrong", NOT_ALLOWED, "ps"), "it does not say why")
    with open(cluster.path("worker.token"), encoding="ascii") as file:
        people.take("worker", file.read().strip())
    check("worker (worker) may not call ListJobs" in people.refused("worker", NOT_ALLOWED, "ps"),
          "it does not say why")
    people.files["none"] = os.path.join(cluster.directory, "none.token")
    people.refused("none", NOT_ALLOWED, "ps")
    worker = cluster.start_worker(7, "--token-file", people.files["the_ada"])
    wait_until("a student's worker is refused", lambda: any(
        line["rpc"] == "Attend" and line.get("user") == "the_ada" for line in audit(cluster)))
    worker.kill()
    check(all(node["worker"][-2:] != "-7" for node in cluster.call("nodes", "--json").objects()),
          "a student's worker has joined")


def test_files(cluster, people):
    """The cluster down and its files copied out: no token among them logs in."""
    cluster.down().ok()
    with open(cluster.path("user.token"), encoding="ascii") as file:
        people.tokens["admin"] = file.read().strip()
    searched = 0
    for root, _, names in os.walk(cluster.path("coordinator")):
        for name in [*names, "../coordinator.log", "../up.log"]:
            try:
                with open(os.path.join(root, name), "rb") as file:
                    content = file.read()
            except FileNotFoundError:
                continue
            searched += 1
            for whose, token in people.tokens.items():
                check(token.encode() not in content, f"{name} holds the token of {whose}")
    check(searched > 3, "nothing was searched")
    database = sqlite3.connect(cluster.path("coordinator", "journal.sqlite"))
    digests = [row[0] for row in database.execute("SELECT sha256 FROM tokens")]
    check(len(digests) >= 5, f"{len(digests)} tokens in the journal")
    with database:
        database.execute("UPDATE tokens SET expires_ms=1 WHERE user='the_grace'")
    database.close()
    cluster.up()
    for digest in digests:
        people.take("stolen", digest)
        people.refused("stolen", NOT_ALLOWED, "ps")
    check("has expired" in people.refused("the_grace", NOT_ALLOWED, "ps"), "it does not say why")
    people.call("the_bob", "ps").ok()


def test_audit(cluster, people):
    path = cluster.path("coordinator", "audit.jsonl")
    check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may read the audit log")
    lines = audit(cluster)
    def has(**fields):
        check(any(fields.items() <= line.items() for line in lines), f"not in the log: {fields}")
    has(user="the_bob", role="student", rpc="SubmitJob", job=1, outcome="OK")
    has(user="the_ada", role="student", rpc="CancelJob", job=1, outcome="NOT_FOUND")
    has(user="the_ada", role="student", rpc="Logs", job=1, outcome="NOT_FOUND")
    has(user="the_ada", rpc="AddUser", outcome="PERMISSION_DENIED")
    has(user="the_ada", rpc="SubmitJob", outcome="RESOURCE_EXHAUSTED")
    has(user="the_grace", role="assistant", rpc="CancelJob", job=1, outcome="OK")
    has(user="the_eve", role="admin", rpc="SetUser", subject="the_ada", outcome="OK")
    has(rpc="ListJobs", outcome="UNAUTHENTICATED")
    check(all("peer" in line and "time" in line for line in lines), "a line without its peer")
    check(all(line["rpc"] != "GetJob" or line["outcome"] != "OK" for line in lines), "reads")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    check("secret" not in text, "what is in a job is in the log")
    check(all(token not in text for token in people.tokens.values()), "a token is in the log")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster, workers=1, slots=4) as cluster:
        cluster.up()
        people = People(cluster)
        for name, role in (("the_ada", "student"), ("the_bob", "student"), ("the_grace", "assistant"),
                           ("the_eve", "admin")):
            people.add(name, role)
        users = cluster.call("user", "list", "--json").objects()
        check([user["name"] for user in users] == ["the_ada", "the_bob", "the_eve", "the_grace"], f"{users}")
        stopwatch.lap("a cluster and four users")
        for part, words in ((test_roles, "roles"), (test_limits, "limits"),
                            (test_disabled, "a disabled user"), (test_tokens, "tokens"),
                            (test_files, "files that are copied out"), (test_audit, "audit log")):
            part(cluster, people)
            stopwatch.lap(words)


if __name__ == "__main__":
    harness.run(__doc__, test)
