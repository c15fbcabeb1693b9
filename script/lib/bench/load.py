"""Loads: wrk for requests that are alike, threads of our own for large bodies."""

import contextlib
import json
import re
import subprocess
import threading
import time

FOODS = 100
POST_FOODS = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local foods, i = {}, 0
function init() -- only now there is a Host
  for i = 1, %d do foods[i] = wrk.format(nil, nil, nil, string.format('{"food":"food %%d"}', i)) end
end
function request()
  i = i %% #foods + 1
  return foods[i]
end
""" % FOODS
FOLD_SECONDS_MAX = 120
LINES_WAIT = 30


def wrk(server, connections, seconds, path, script=None):
    """Requests a second, and the share of one core that the server took."""
    before, start = server.cpu_seconds(), time.monotonic()
    with beside(wrk_command(server, connections, seconds, path, script)) as load:
        rate = rate_of(load)
    return rate, (server.cpu_seconds() - before) / (time.monotonic() - start)


def wrk_command(server, connections, seconds, path, script=None):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://{server.address}{path}"]
    if script:
        # What a script posts needs no token.
        return command + ["-s", str(script)]
    return command + [part for name, value in server.headers.items() for part in ("-H", f"{name}: {value}")]


def rate_of(load):
    """The requests a second that a wrk tells at its end."""
    said, errors = load.communicate()
    if load.returncode != 0 or re.search(r"Non-2xx|Socket errors", said):
        raise SystemExit(f"not every request was answered well:\n{said}{errors}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def posting_foods(home, pause_ms=None):
    """The script that makes wrk post foods; each connection pauses between them, if it is told to."""
    script = home / ("foods.lua" if pause_ms is None else "slow-foods.lua")
    script.write_text(POST_FOODS + ("" if pause_ms is None else f"function delay() return {pause_ms} end\n"))
    return script


def counted(server):
    return sum(row["count"] for row in json.loads(server.get("/aggregated")[1]))


def check_total(server, about):
    """What was acknowledged must be counted: wrk does not tell exactly how much that was, but about."""
    deadline = time.monotonic() + FOLD_SECONDS_MAX
    while time.monotonic() < deadline:
        total = counted(server)
        if total >= about * 0.99:
            return
        time.sleep(0.05)
    raise SystemExit(f"only {total} of about {about:.0f} commands are counted")


def post_lines(server, path, bodies, connections):
    """Sends bodies of lines over so many connections; answers the newest receipts."""
    bodies = iter(bodies)
    take, receipts, wrong = threading.Lock(), {}, []

    def run():
        with server.connection() as connection:
            while not wrong:
                with take:
                    body = next(bodies, None)
                if body is None:
                    return
                connection.request("POST", path, body, {**server.headers, "Content-Type": "application/x-ndjson"})
                answer = connection.getresponse()
                said = answer.read()
                if answer.status not in (200, 201):
                    wrong.append(f"{path} answered {answer.status}: {said[:500]}")
                    return
                with take:
                    note(receipts, answer.getheader("Refold-Receipt", ""))

    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(wrong[0])
    return [receipt for _, receipt in receipts.values()]


def note(receipts, header):
    """Keeps the newest receipt of each partition and writer: whoever waits for it waits for those before it."""
    for receipt in filter(None, header.split(",")):
        partition, writer, *number = receipt.strip().split(".")
        number = [int(part) for part in number]
        newest = receipts.setdefault((partition, writer), (number, receipt.strip()))
        if number > newest[0]:
            receipts[partition, writer] = (number, receipt.strip())


def wait_folded(server, path, receipts):
    """Asks until a query sees what the receipts tell of."""
    deadline = time.monotonic() + FOLD_SECONDS_MAX
    headers = {"Refold-Receipt": ",".join(receipts), "Prefer": f"wait={LINES_WAIT}"}
    while time.monotonic() < deadline:
        status, said = server.get(path, headers)
        if status == 200:
            return said
    raise SystemExit(f"{path} did not answer within {FOLD_SECONDS_MAX} s: {status} {said[:500]}")


@contextlib.contextmanager
def beside(command):
    """Runs a load beside what is measured."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
