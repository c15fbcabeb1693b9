"""Logins: whether an unknown user can be told from a wrong password by the time it takes, and what a rush of them costs others."""

import json
import re
import statistics
import time
import urllib.parse

from figures import Row
from load import beside, check_total, posting_foods, wrk, wrk_command
from server import fresh

# In all rounds together, of each of the two.
TRIES = 1_000
PERCENTILES = (5, 25, 50, 75, 95)
PASSWORD = "correct horse battery"
CONNECTIONS = 64
# Whoever waits for a turn holds a connection (auth.hashes_queue_max, 100); the others try again after a pause and make the rate.
LOGINS_A_SECOND, LOGIN_CONNECTIONS, LOGINS_WAITING = 1_000, 300, 100
# All that are sent are looked at, as far as there is room: a limit would make it easy.
UNLIMITED = {"REFOLD__AUTH__LOGINS_MAX": "0", "REFOLD__AUTH__FAILED_LOGINS_MAX": "0"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
POST_LOGINS = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
local logins, i = {}, 0
function init() -- only now there is a Host
  for i = 1, 100 do
    -- Every other one is right.
    local user = i %% 2 == 0 and "ada" or "user" .. i
    logins[i] = wrk.format(nil, nil, nil, "username=" .. user .. "&password=%s")
  end
end
function request()
  i = i %% #logins + 1
  return logins[i]
end
function delay() return %d end
"""


def measure(options, home):
    yield from told_apart(options, home)
    yield from beside_foods(options, home)


def told_apart(options, home):
    """One after the other, in turns, so that both meet the same machine."""
    rows = {percentile: Row(f"`POST /login`, unknown user, p{percentile}; the reference: wrong password", "ms", [], digits=2)
            for percentile in PERCENTILES}
    guess = Row("how often the slower one of the two was the unknown user; by chance 0.5", "", [], digits=3)
    for _ in range(options.rounds):
        with fresh(options, home, **UNLIMITED) as server:
            register(server)
            unknown, wrong = tried(server, TRIES // options.rounds)
        cuts = [statistics.quantiles(one, n=100, method="inclusive") for one in (unknown, wrong)]
        for percentile, row in rows.items():
            one, other = (cut[percentile - 1] for cut in cuts)
            row.figures.append(one)
            row.ratios.append(one / other)
        guess.figures.append(slower(unknown, wrong))
    yield from rows.values()
    yield guess


def tried(server, tries):
    """How many milliseconds each try took: for users that there are not, and for one with a wrong password."""
    took = [], []
    with server.connection() as connection:
        for number in range(tries):
            # Names of one length, and the first of a pair is now the one, now the other.
            pair = [(took[0], f"u{number:04}"), (took[1], "ada00")]
            for milliseconds, user in pair[::1 if number % 2 else -1]:
                form = urllib.parse.urlencode({"username": user, "password": "wrong horse battery"})
                start = time.perf_counter()
                connection.request("POST", "/login", form, FORM)
                answer = connection.getresponse()
                answer.read()
                milliseconds.append((time.perf_counter() - start) * 1_000)
                if answer.status != 401:
                    raise SystemExit(f"a login was answered {answer.status}")
    return took


def slower(unknown, wrong):
    """Of all pairs: the share in which the first took longer."""
    return sum((one > other) + (one == other) / 2 for one in unknown for other in wrong) / len(unknown) / len(wrong)


def register(server):
    for name in ("ada", "ada00"):
        user = {"username": name, "name": "A", "lastname": "L", "email": f"{name}@example.org", "password": PASSWORD}
        with server.connection() as connection:
            connection.request("POST", "/users", json.dumps(user), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 201:
                raise SystemExit(f"a registration was answered {answer.status}: {answer.read()}")


def beside_foods(options, home):
    foods = posting_foods(home)
    row = Row(f"`POST /foods`, {CONNECTIONS} connections, beside logins; the reference: without them", "commands/s", [])
    load = Row("the logins beside it, answered, refused or told to come back", "logins/s", [])
    for _ in range(options.rounds):
        with fresh(options, home, **UNLIMITED) as server:
            alone, _ = wrk(server, CONNECTIONS, options.seconds, "/foods", foods)
        with fresh(options, home, **UNLIMITED) as server:
            register(server)
            # It begins before what is measured, and ends after it.
            logins = wrk_command(server, LOGIN_CONNECTIONS, options.seconds + 2, "/login", posting_logins(home))
            with beside(logins) as rush:
                time.sleep(1)
                rate, share = wrk(server, CONNECTIONS, options.seconds, "/foods", foods)
                load.figures.append(answered(rush))
            check_total(server, rate * options.seconds)
            row.memory.append(server.memory_peak())
        row.figures.append(rate)
        row.shares.append(share)
        row.ratios.append(rate / alone)
    yield row
    yield load


def posting_logins(home):
    script = home / "logins.lua"
    pause_ms = round(1_000 * (LOGIN_CONNECTIONS - LOGINS_WAITING) / LOGINS_A_SECOND)
    script.write_text(POST_LOGINS % (urllib.parse.quote_plus(PASSWORD).replace("%", "%%"), pause_ms))
    return script


def answered(load):
    """The requests a second that a wrk tells at its end, whatever they were answered."""
    said, errors = load.communicate()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if load.returncode != 0 or not rate:
        raise SystemExit(f"the logins failed:\n{said}{errors}")
    return float(rate[1])
