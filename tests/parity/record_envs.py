#!/usr/bin/env python3
"""What Gymnasium's environments answer, to the bit: digests of a thousand episodes of each.

    tests/parity/record_envs.py            writes envs_goldens.json beside this file
    tests/parity/record_envs.py --check    compares it with this Gymnasium; 77 = none is installed

envs_parity_test.cpp runs Muster's environments through the same episodes and compares with the same
file. Actions are a hash of their place, or follow from the observation, on both sides. Every tenth
episode begins with a seed, the others go on with the generator.

A digest covers, in order: each reset's observation; of each step the observation, the reward
(float64) and the two flags. Observations are float32 as they are returned, or int32.

NumPy's vector mathematics can make the reference depend on the processor. NumPy 2.4 takes sines and
cosines of float64 from the C library everywhere (checked with NPY_DISABLE_CPU_FEATURES), but those of
float32 from series of its own where it finds X86_V3; Acrobot's reset observation is the one place here
that has any. --check looks which of both holds, says so, and compares what depends on it to 1e-6.
"""

import hashlib
import json
import math
import os
import struct
import sys

EPISODES = 1000
BLOCK = 100  # Episodes a digest.
TRACED = 12  # Steps of the first episode that are recorded as they are.


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import gymnasium
    import numpy as np
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv
    from gymnasium.wrappers import TimeLimit
except ImportError as error:
    own = os.environ.get("MUSTER_PYTHON")
    if own and os.path.abspath(sys.executable) != os.path.abspath(own):
        os.execv(own, [own, *sys.argv])
    skip(f"Gymnasium cannot be imported ({error}); name a Python that has it with MUSTER_PYTHON")


def uniform(episode, step):
    """[0, 1) from the place of an action."""
    bits = ((episode * 1009 + step) * 2654435761 + 40503 * episode + 12345) & 0xffffffff
    for _ in range(2):
        bits = ((bits ^ (bits >> 16)) * 0x45d9f3b) & 0xffffffff
    return (bits ^ (bits >> 16)) / 4294967296.0


class EasyCart(CartPoleEnv):
    def step(self, action):
        obs, _, terminated, truncated, info = super().step(action)
        x, _, theta, _ = obs
        reward_1 = 1 - abs(theta / 0.2095)
        reward_2 = 1 - abs(x / 2.4)
        return obs, (reward_1 + reward_2) / 2, terminated, truncated, info


class SpinCart(CartPoleEnv):
    def step(self, action):
        obs, _, _, truncated, info = super().step(action)
        x, v, _, omega = obs
        rotation_speed_reward = min(1, 0.1 * abs(omega))
        stability_penalty = max(1, abs(x / 2.5) + abs(v / 10))
        reward = rotation_speed_reward - 0.5 * stability_penalty
        return obs, reward, abs(x) > self.x_threshold, truncated, info


class Bandit(gymnasium.Env):
    def __init__(self, num_arms, stationary):
        self.observation_space = gymnasium.spaces.Discrete(1)
        self.action_space = gymnasium.spaces.Discrete(num_arms)
        self.stationary = stationary

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        arms = self.action_space.n
        self.means = (self.np_random.normal(loc=0.0, scale=1.0, size=arms) if self.stationary
                      else np.zeros(arms))
        return 0, {}

    def step(self, arm):
        if not self.stationary:
            self.means += self.np_random.normal(loc=0.0, scale=0.01, size=self.action_space.n)
        return 0, self.np_random.normal(loc=self.means[arm], scale=1.0), False, False, {}


def make(name, **options):
    return lambda: gymnasium.make(name, disable_env_checker=True, **options)


def acrobot_nips():
    env = gymnasium.make("Acrobot-v1", disable_env_checker=True)
    env.unwrapped.book_or_nips = "nips"
    return env


def choose(count):
    return lambda obs, u, episode: int(u * count)


def balance(obs, u, episode):
    """Every fourth episode at random, the others held upright, with a slip in fifty."""
    if episode % 4 == 0 or u < 0.02:
        return int(u * 100) % 2
    return int(3.0 * float(obs[2]) + float(obs[3]) + 0.02 * float(obs[0]) > 0)


def pump(obs, u, episode):
    if episode % 20 == 0:
        return int(u * 3)
    return 2 if float(obs[-1]) >= 0 else 0


def pump_box(obs, u, episode):
    push = 3.0 * u - 1.5  # Half of them beyond the bounds.
    if episode % 4 != 0:
        push = abs(push) if float(obs[1]) >= 0 else -abs(push)
    return np.array([push], dtype=np.float32)


def torque(obs, u, episode):
    return np.array([6.0 * u - 3.0], dtype=np.float32)


def along_the_cliff(obs, u, episode):
    if obs % 12 == 11:
        return 2
    return 1 if u < 0.5 else 0 if u < 0.8 else 2 if u < 0.9 else 3


# Name in Muster, its options, the environment here, the policy, episodes.
CASES = {
    "CartPole-v1": ("", make("CartPole-v1"), balance, EPISODES),
    "CartPole-v1 sutton": ("sutton_barto_reward=true", make("CartPole-v1", sutton_barto_reward=True),
                           balance, BLOCK),
    "MountainCar-v0": ("", make("MountainCar-v0"), pump, EPISODES),
    "MountainCar-v0 fast": ("goal_velocity=0.03", make("MountainCar-v0", goal_velocity=0.03), pump,
                            BLOCK),
    "MountainCarContinuous-v0": ("", make("MountainCarContinuous-v0"), pump_box, EPISODES),
    "Acrobot-v1": ("", make("Acrobot-v1"), pump, EPISODES),
    "Acrobot-v1 nips": ("book_or_nips=nips", acrobot_nips, pump, BLOCK),
    "Pendulum-v1": ("", make("Pendulum-v1"), torque, EPISODES),
    "Pendulum-v1 earth": ("g=9.81", make("Pendulum-v1", g=9.81), torque, BLOCK),
    "EasyCart-v0": ("", lambda: TimeLimit(EasyCart(), 500), balance, EPISODES),
    "SpinCart-v0": ("", lambda: TimeLimit(SpinCart(), 500), balance, EPISODES),
    "FrozenLake-v1": ("", make("FrozenLake-v1"), choose(4), EPISODES),
    "FrozenLake-v1 dry": ("is_slippery=false", make("FrozenLake-v1", is_slippery=False), choose(4),
                          BLOCK),
    "FrozenLake8x8-v1": ("", make("FrozenLake8x8-v1"), choose(4), EPISODES),
    "FrozenLake-v1 own": ("desc=SFFS/FHFF/FFFG success_rate=0.7 goal_reward=5 hole_reward=-2",
                          make("FrozenLake-v1", desc=["SFFS", "FHFF", "FFFG"], success_rate=0.7,
                               reward_schedule=(5, -2, 0)), choose(4), BLOCK),
    "CliffWalking-v1": ("", make("CliffWalking-v1"), along_the_cliff, EPISODES),
    "CliffWalkingSlippery-v1": ("", make("CliffWalkingSlippery-v1"), along_the_cliff, BLOCK),
    "Taxi-v4": ("", make("Taxi-v4"), choose(6), EPISODES),
    "Taxi-v4 fickle": ("is_rainy=true fickle_passenger=true fickle_probability=0.8",
                       make("Taxi-v4", is_rainy=True, fickle_passenger=True,
                            fickle_probability=0.8), choose(6), EPISODES),
    "Blackjack-v1": ("", make("Blackjack-v1"), choose(2), EPISODES),
    "Blackjack-v1 natural": ("natural=true sab=false",
                             make("Blackjack-v1", natural=True, sab=False), choose(2), EPISODES),
    "ArmedBanditTestbed-v0": ("max_episode_steps=50", lambda: TimeLimit(Bandit(10, True), 50),
                              choose(10), BLOCK),
    "ArmedBanditTestbed-v0 drift": ("max_episode_steps=50 stationary=false",
                                    lambda: TimeLimit(Bandit(10, False), 50), choose(10), BLOCK),
}


def observation_bytes(obs):
    if isinstance(obs, np.ndarray):
        assert obs.dtype == np.float32
        return obs.tobytes()
    values = obs if isinstance(obs, tuple) else (obs,)
    return struct.pack(f"<{len(values)}i", *[int(v) for v in values])


def listed(obs):
    if isinstance(obs, np.ndarray):
        return [float(v) for v in obs]
    return [int(v) for v in (obs if isinstance(obs, tuple) else (obs,))]


def run(options, maker, policy, episodes):
    env = maker()
    result = {"options": options, "episodes": episodes, "steps": 0, "digests": [], "trace": []}
    digest = hashlib.sha256()
    for episode in range(episodes):
        obs, _ = env.reset(seed=1000 + episode if episode % 10 == 0 else None)
        digest.update(observation_bytes(obs))
        if episode == 0:
            result["trace"].append(listed(obs))
        step, ended = 0, False
        while not ended:
            action = policy(obs, uniform(episode, step), episode)
            obs, reward, terminated, truncated, _ = env.step(action)
            digest.update(observation_bytes(obs) + struct.pack("<dBB", float(reward),
                                                               bool(terminated), bool(truncated)))
            step += 1
            ended = terminated or truncated
            if episode == 0 and step <= TRACED:
                result["trace"].append(listed(obs) + [float(reward), int(terminated), int(truncated)])
        result["steps"] += step
        if (episode + 1) % BLOCK == 0:
            result["digests"].append(digest.hexdigest()[:32])
            digest = hashlib.sha256()
    env.close()
    return result


def numpy_draws():
    """Of numpy.random itself, from small and large seeds."""
    draws = []
    for seed in (0, 1, 42, 2**32 - 1, 2**32 + 5, 2**63 + 11):
        rng = np.random.default_rng(seed)
        draws.append({
            "seed": str(seed),
            "random": [rng.random() for _ in range(3)],
            "integers": [int(rng.integers(0, n)) for n in (1, 2, 3, 13, 1000, 2**31, 2**32 - 1)],
            "uniform": [rng.uniform(-3.5, 10.25) for _ in range(3)],
            "choice": [int(rng.choice(list(range(17)))) for _ in range(5)],
            "normal": [rng.normal(2.0, 3.0) for _ in range(4)],
            "normal_sum": sum(float(rng.standard_normal()) for _ in range(20000)),
            "after": rng.random(),
        })
    return draws


def close(recorded, fresh):
    return len(recorded) == len(fresh) and all(
        len(a) == len(b) and all(abs(x - y) <= 1e-6 for x, y in zip(a, b))
        for a, b in zip(recorded, fresh))


def doubtful():
    """Environments whose last bits are not the recorded ones with this NumPy on this processor."""
    from numpy._core._multiarray_umath import __cpu_features__ as features
    names = {}
    series = features["X86_V3"] if "X86_V3" in features else features.get("FMA3")
    if not series:
        names["Acrobot"] = "float32 cosines are the C library's, X86_V3 is off"
    angles = [0.001 * i for i in range(-3000, 3000)]
    if any(float(np.sin(np.float64(x))) != math.sin(x) or
           float(np.cos(np.float64(x))) != math.cos(x) for x in angles):
        for name in ("CartPole", "EasyCart", "SpinCart", "Pendulum", "Acrobot"):
            names[name] = "float64 sines are not the C library's"
    return names


def check(recorded, names):
    found, depends = [], doubtful()
    for name in names:
        golden, fresh = recorded["cases"][name], run(*CASES[name])
        cause = next((why for start, why in depends.items() if name.startswith(start)), None)
        if fresh == golden:
            continue
        if cause and close(golden["trace"], fresh["trace"]):
            print(f"{name}: equal to 1e-6; with this NumPy, on this processor, {cause}")
            continue
        blocks = [i for i, (a, b) in enumerate(zip(golden["digests"], fresh["digests"])) if a != b]
        found.append(f"{name}: {golden['steps']} steps recorded, {fresh['steps']} now; blocks of "
                     f"{BLOCK} episodes that differ: {blocks}")
    if recorded["numpy_random"] != numpy_draws():
        found.append("numpy.random draws other numbers")
    print(f"Gymnasium {gymnasium.__version__}, NumPy {np.__version__}; recorded with "
          f"{recorded['gymnasium']}, {recorded['numpy']}: {len(found)} differences")
    print("\n".join(found), end="\n" if found else "")
    return found


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "envs_goldens.json")
    if sys.argv[1:2] == ["--check"]:
        with open(path, encoding="utf-8") as file:
            sys.exit(1 if check(json.load(file), sys.argv[2:] or list(CASES)) else 0)
    cases = {name: run(*case) for name, case in CASES.items()}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"gymnasium": gymnasium.__version__, "numpy": np.__version__,
                   "numpy_random": numpy_draws(), "cases": cases}, file, indent=0, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
