#!/usr/bin/env python3
"""`muster env`: environments by name, by hand and as plug-ins; what a user gets wrong is told."""

import json
import os
import re

import harness
from harness import check

# What Gymnasium 1.x answers to env.reset(seed=3) and these actions.
CARTPOLE = [
    {"reset": True, "observation": [-0.041435081511735916, -0.026318948715925217,
                                    0.030127447098493576, 0.008216203190386295]},
    {"observation": [-0.041961461305618286, -0.22185972332954407, 0.03029177151620388,
                     0.3102504014968872], "reward": 1.0, "terminated": False, "truncated": False},
    {"observation": [-0.04639865830540657, -0.027182159945368767, 0.03649677708745003,
                     0.027272429317235947], "reward": 1.0, "terminated": False, "truncated": False},
]


def look(cluster):
    listed = cluster.call("env", "list").ok().out
    for name in ("CartPole-v1", "Taxi-v4", "NorvigGrid-v0", "Probe5-v0"):
        check(name in listed, f"{name} is not listed")
    objects = cluster.call("env", "list", "--json").ok().objects()
    check(len(objects) == len(listed.splitlines()), "as many objects as lines")
    shown = cluster.call("env", "show", "CartPole-v1").ok().out
    check("Discrete(2)" in shown and "500 steps" in shown, f"says too little:\n{shown}")


def trace(cluster):
    actions = f"{cluster.directory}/actions"
    with open(actions, "w", encoding="utf-8") as file:
        file.write("0\n1\n")
    lines = cluster.call("env", "trace", "CartPole-v1", "--seed", "3", "--actions", actions).ok().out
    check([json.loads(line) for line in lines.splitlines()] == CARTPOLE, f"another trace:\n{lines}")
    # An episode's end is followed by a reset, a line of its own.
    with open(actions, "w", encoding="utf-8") as file:
        file.write("1\n" * 30)
    rows = [json.loads(line) for line in cluster.call(
        "env", "trace", "CartPole-v1", "--actions", actions).ok().out.splitlines()]
    ends = [i for i, row in enumerate(rows) if row.get("terminated")]
    check(ends and all(rows[i + 1].get("reset") for i in ends), "no reset after an end")
    check(sum("reward" in row for row in rows) == 30, "an action without an answer")


def refused(cluster, code, words, *arguments):
    result = cluster.call("env", *arguments)
    check(result.code == code and all(word in result.err for word in words),
          f"not told with exit code {code} and {words}:\n{result}")


def mistakes(cluster):
    refused(cluster, 2, ["CartPol", "CartPole-v1"], "show", "CartPol")
    refused(cluster, 2, ["unknown option g"], "check", "CartPole-v1", "--set", "g=1")
    refused(cluster, 2, ["list, show"], "shwo", "CartPole-v1")
    refused(cluster, 2, ["which one"], "show")
    refused(cluster, 2, ["--actions"], "trace", "CartPole-v1")
    with open(f"{cluster.directory}/wrong", "w", encoding="utf-8") as file:
        file.write("0\n7\n")
    refused(cluster, 2, ["wrong:2", "Discrete(2)"], "trace", "CartPole-v1", "--actions",
            f"{cluster.directory}/wrong")


def play(cluster):
    read, write = os.pipe()
    os.write(write, b"right\n9\nr\ndown\nq\n")
    os.close(write)
    out = cluster.call("env", "play", "FrozenLake-v1", "--set", "is_slippery=false",
                       stdin=read).ok().out
    os.close(read)
    check(out.count("reward 0") == 2 and "after 1 steps" in out, f"not played:\n{out}")


def gif(cluster):
    """An episode as a GIF: whole, the same again, and no file where something is wrong."""
    path = f"{cluster.directory}/pole.gif"
    arguments = ("play", "CartPole-v1", "--gif", path, "--seed", "3")
    told = cluster.call("env", *arguments).ok().out
    with open(path, "rb") as file:
        content = file.read()
    steps = int(re.search(r"(\d+) pictures of (\d+) steps in 1 episode, mean return \2\n", told)[2])
    check(content.startswith(b"GIF89a\x58\x02\x90\x01") and content.endswith(b"\x3b"), "no GIF")
    check(content.count(b"\x21\xf9\x04\x04") == steps + 1 >= 9, f"not a picture a step: {told}")
    cluster.call("env", *arguments).ok()
    with open(path, "rb") as file:
        check(file.read() == content, "another GIF of the same seed")
    told = cluster.call("env", *arguments, "--steps", "100").ok().out
    check("101 pictures" not in told and "of 100 steps" in told, f"not 100 steps: {told}")
    told = cluster.call("env", *arguments, "--episodes", "2").ok().out
    check("in 2 episodes" in told and "not ended" not in told, f"not two episodes: {told}")
    actions = f"{cluster.directory}/lake"
    with open(actions, "w", encoding="utf-8") as file:
        file.write("down\n\n1\nright\n2\n1\nright\n")  # The way across.
    lake = ("play", "FrozenLake-v1", "--set", "is_slippery=false", "--actions", actions, "--gif",
            f"{cluster.directory}/lake.gif")
    told = cluster.call("env", *lake).ok().out
    check("7 pictures of 6 steps in 1 episode, mean return 1\n" in told, f"another way: {told}")
    with open(actions, "a", encoding="utf-8") as file:
        file.write("jump\n")
    os.unlink(f"{cluster.directory}/lake.gif")
    refused(cluster, 2, ["lake:8", "jump"], *lake)
    check(not os.path.exists(f"{cluster.directory}/lake.gif"), "a GIF in spite of the mistake")
    refused(cluster, 2, ["draws no pictures"], "play", "Probe1-v0", "--gif", path)
    result = cluster.call("env", "play", "CartPole-v1", "--gif", "/no/such/folder/a.gif")
    check(result.code != 0 and "/no/such/folder/a.gif" in result.err, f"not told: {result}")


def plug_in(cluster):
    folder = f"{cluster.directory}/plugin"
    os.mkdir(folder)
    call = lambda *arguments, **more: cluster.call("env", *arguments, cwd=folder, **more)
    call("new", "walk").ok()
    check(call("new", "walk").code != 0, "overwrites what is there")
    check(call("build", "walk.cpp").ok().out == "walk.so\n", "does not name the library")
    check("FAIL" not in call("check", "./walk.so", "--steps", "200").ok().out, "a check failed")
    with open(f"{folder}/walk.cpp", encoding="utf-8") as file:
        source = file.read()
    step = "at_ += action.Choice() == 1 ? 1 : -1;"
    check(step in source, "the template has another step")
    with open(f"{folder}/crash.cpp", "w", encoding="utf-8") as file:
        file.write(source.replace(step, "*static_cast<volatile int*>(nullptr) = 1;"))
    call("build", "crash.cpp").ok()
    with open(f"{folder}/actions", "w", encoding="utf-8") as file:
        file.write("1\n")
    crashed = call("trace", "./crash.so", "--actions", "actions")
    check(crashed.code < 0 and "Walk" in crashed.err and "action [1]" in crashed.err,
          f"does not say who crashed:\n{crashed}")
    with open(f"{folder}/broken.cpp", "w", encoding="utf-8") as file:
        file.write(source.replace("Choice()", "Choice(") )
    broken = call("build", "broken.cpp")
    check(broken.code != 0 and "broken.cpp" in broken.err, f"no word of the compiler's:\n{broken}")
    with open(f"{folder}/none.so", "w", encoding="utf-8") as file:
        file.write("not a library")
    refused(cluster, 2, ["none.so"], "show", f"{folder}/none.so")


def test(arguments, stopwatch):
    with harness.Cluster(arguments.muster) as cluster:
        look(cluster)
        trace(cluster)
        stopwatch.lap("list, show and trace: Gymnasium's numbers")
        mistakes(cluster)
        play(cluster)
        stopwatch.lap("mistakes are told, a lake is crossed by hand")
        gif(cluster)
        stopwatch.lap("episodes become GIFs")
        plug_in(cluster)
        stopwatch.lap("a plug-in is made, built, checked, and named when it crashes")


if __name__ == "__main__":
    harness.run(__doc__, test)
