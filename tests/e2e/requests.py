#!/usr/bin/env python3
"""Every RPC of the coordinator's port, called with bytes that no client of ours sends: without a
token, with a student's about another's job, malformed, oversized. Each is refused with a clear
status, and the coordinator and the job that runs do not notice."""

import glob
import hashlib
import os
import random
import re
import subprocess

import harness
from harness import check
from people import People

OK, INVALID, NOT_FOUND, DENIED, EXHAUSTED, PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED \
    = 0, 3, 5, 7, 8, 9, 12, 13, 16
OF_BOBS = b"of the_bob's"
FIRST = bytes.fromhex("0801")  # Field 1 is 1: the job, where an RPC names one.

# What a student gets who names another's job, data or account, RPC by RPC. An RPC without an entry
# fails the test.
OF_OTHERS = {
    **{rpc: NOT_FOUND for rpc in ("GetJob", "CancelJob", "ResumeJob", "WatchJob", "Logs", "Metrics",
                                  "DownloadCheckpoint")},
    **{rpc: DENIED for rpc in ("DrainWorker", "ResumeWorker", "AddUser", "SetUser", "ListUsers",
                               "AddToken", "NewJoinToken", "FetchObject", "Attend", "Append",
                               "UploadCheckpoint", "FetchCheckpoint", "Put", "Get")},
    "ListTokens": DENIED,      # Of user "the_bob".
    "RevokeToken": DENIED,      # Number 2, which is the_bob's.
    "RemoveData": DENIED,       # Named by the_bob.
    "NameData": DENIED,         # The same name again.
    "Join": PRECONDITION,       # This coordinator lets nobody join.
    "SubmitJob": INVALID,       # Nothing of others' to name.
    "FindMissing": OK,  # Of no objects.
    "PutObjects": INVALID, "GetObject": INVALID,
    "ListJobs": OK, "ListNodes": OK, "ListData": OK, "Info": OK,  # People's e2e looks at what they tell.
}


def methods():
    """(service, method), as the files of the protocol have them."""
    found = []
    for path in sorted(glob.glob("proto/muster/v1/*.proto")):
        service = None
        with open(path, encoding="utf-8") as file:
            for line in file:
                service = (re.findall(r"^service (\w+)", line) or [service])[0]
                found += [(service, rpc) for rpc in re.findall(r"^  rpc (\w+)\(", line)]
    # An agent serves the first, to its own ranks, on a socket of its own; a rank the second, to the
    # rollout workers of its attempt.
    return [one for one in found if one[0] not in ("RankService", "RolloutService")]


def text_field(number, text):
    check(len(text) < 128, "one byte of length")
    return bytes([number << 3 | 2, len(text)]) + text.encode()


class Caller:
    """Calls the coordinator by raw_call."""

    def __init__(self, program, cluster):
        with open(cluster.path("address"), encoding="ascii") as file:
            address = file.readline().strip()
        self.process = subprocess.Popen([program, address], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def call(self, service, rpc, token, message):
        self.process.stdin.write(f"/muster.v1.{service}/{rpc} {token or '-'} "
                                 f"{message.hex() or '-'}\n")
        self.process.stdin.flush()
        code, _, words = self.process.stdout.readline().rstrip("\n").partition(" ")
        check(code.isdigit(), "raw_call ended")
        return int(code), words

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def about_others(caller, rpcs, tokens):
    named = {"ListTokens": text_field(1, "the_bob"), "RevokeToken": bytes.fromhex("0802"),
             "RemoveData": text_field(1, "bobs"), "NameData": text_field(1, "bobs") +
             text_field(2, hashlib.sha256(OF_BOBS).hexdigest()),
             "ResumeJob": FIRST + bytes.fromhex("1001")}
    wrong = []
    for service, rpc in rpcs:
        check(rpc in OF_OTHERS, f"{service}.{rpc}: say in OF_OTHERS what a student gets")
        code, words = caller.call(service, rpc, tokens["the_ada"], named.get(rpc, FIRST))
        if code != OF_OTHERS[rpc] or not (code == OK or words):
            wrong.append(f"{rpc} as the_ada: {code} {words!r}, not {OF_OTHERS[rpc]}")
        check(all(token not in words for token in tokens.values()), f"{rpc} tells a token")
    check(not wrong, "\n".join(wrong))


def without_token(caller, rpcs):
    for service, rpc in rpcs:
        if rpc == "Join":
            continue  # Proves itself in its message.
        for token in (None, "0" * 64, "x", "\u00e9".encode().hex()):
            code, words = caller.call(service, rpc, token, FIRST)
            check(code == UNAUTHENTICATED, f"{rpc} with token {token}: {code} {words}")


def malformed(caller, rpcs, tokens):
    chooser = random.Random(1)
    deep = FIRST
    for _ in range(40):  # Messages in messages, deeper than any of ours.
        deep = bytes([0x12, len(deep)]) + deep if len(deep) < 126 else deep
    shapes = [b"\xff" * 64, bytes.fromhex("0affffffff7f"), bytes.fromhex("0a05ff"),
              b"\x0a\x04\xff\xfe\xfd\xfc", deep]
    for service, rpc in rpcs:
        token = tokens["worker" if service == "AgentService" or rpc == "FetchObject" else "the_eve"]
        for message in [*shapes, *[chooser.randbytes(chooser.randrange(1, 200)) for _ in range(15)]]:
            code, words = caller.call(service, rpc, token, message)
            # UNAVAILABLE would be a coordinator that has gone, DEADLINE_EXCEEDED one that hangs.
            check(code not in (4, 14), f"{rpc} of {message.hex()}: {code} {words}")
    code, words = caller.call("JobService", "NoSuchCall", tokens["the_eve"], FIRST)
    check(code == UNIMPLEMENTED, f"an unknown RPC: {code} {words}")


def oversized(caller, rpcs, tokens):
    large = bytes.fromhex("0a808080" "02") + b"x" * (4 << 20)  # A string of 4 MiB, and its head.
    for service, rpc in rpcs:
        token = tokens["worker" if service == "AgentService" or rpc == "FetchObject" else "the_eve"]
        code, words = caller.call(service, rpc, token, large)
        streamed = rpc in ("PutObjects", "Attend", "UploadCheckpoint")  # Ends as the stream ends.
        check(code == EXHAUSTED and "larger than max" in words or streamed and code != OK,
              f"{rpc}: {code} {words[:200]}")
    name = bytes.fromhex("0a80808001") + b"x" * (2 << 20)  # Within the cap, and no name.
    for service, rpc in (("PeopleService", "AddUser"), ("ContentService", "NameData"),
                         ("JobService", "DrainWorker"), ("AgentService", "Attend")):
        token = tokens["worker" if service == "AgentService" else "the_eve"]
        code, words = caller.call(service, rpc, token, name)
        # A stream that its client ends at once may end well before its message is looked at.
        check(code not in (4, 14) and (code != OK or rpc == "Attend"),
              f"{rpc} with a name of 2 MiB: {code} {words[:200]}")
        check(len(words) < 4096, f"{rpc} repeats it: {len(words)} characters")


def test(arguments, stopwatch):
    rpcs = methods()
    check(len(rpcs) > 30, f"only {rpcs}")
    with harness.Cluster(arguments.muster, workers=1, slots=4) as cluster:
        cluster.up()
        people = People(cluster)
        for name, role in (("the_ada", "student"), ("the_bob", "student"), ("the_eve", "admin")):
            people.add(name, role)
        with open(cluster.path("worker.token"), encoding="ascii") as file:
            people.tokens["worker"] = file.read().strip()
        job = people.submitted("the_bob")
        check(job == 1, f"the_bob's job is {job}")
        cluster.wait_for(job, "runs", lambda shown: shown["state"] == "RUNNING")
        data = os.path.join(cluster.directory, "bobs")
        with open(data, "wb") as file:
            file.write(OF_BOBS)
        people.call("the_bob", "put", data, "--name", "bobs").ok()
        pid, nodes = cluster.coordinator_pid(), cluster.call("nodes", "--json").objects()
        attempt = cluster.show(job)["attempt"]
        caller = Caller(arguments.raw_call, cluster)
        try:
            for part, words in ((lambda: without_token(caller, rpcs), "no token, or nobody's"),
                                (lambda: about_others(caller, rpcs, people.tokens), "of others'"),
                                (lambda: malformed(caller, rpcs, people.tokens), "malformed"),
                                (lambda: oversized(caller, rpcs, people.tokens), "oversized")):
                part()
                shown = cluster.show(job)
                check(shown["state"] == "RUNNING" and shown["attempt"] == attempt,
                      f"{words}: the_bob's job is {shown['state']} {shown['reason']}")
                check(cluster.coordinator_pid() == pid, f"{words}: the coordinator has gone")
                stopwatch.lap(f"{len(rpcs)} RPCs: {words}")
        finally:
            caller.close()
        after = cluster.call("nodes", "--json").objects()
        check([one["worker"] for one in after] == [one["worker"] for one in nodes],
              f"other workers than before: {after}")
        users = cluster.call("user", "list", "--json").objects()
        check([user["name"] for user in users] == ["the_ada", "the_bob", "the_eve"], f"{users}")
        with open(cluster.path("coordinator", "audit.jsonl"), encoding="utf-8") as file:
            log = file.read()
        check(all(token not in log for token in people.tokens.values()), "a token is in the log")
        check("x" * 300 not in log and "secret" not in log, "what was sent is in the log")


if __name__ == "__main__":
    harness.run(__doc__, test, options=[("--raw-call", "build/release/tests/raw_call",
                                         "tests/support/raw_call.cpp, built")])
