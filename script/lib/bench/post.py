"""Single commands, each durable before its answer, against a typed endpoint that does nothing."""

from figures import Row
from load import check_total, posting_foods, wrk
from server import ceiling, embedded, fresh

CONNECTIONS = (64, 256)


def measure(options, home, log=embedded):
    script = posting_foods(home)
    for connections in CONNECTIONS:
        commands = Row(f"`POST /foods`, {connections} connections", "commands/s", [])
        nothing = Row(f"the reference: the same, doing nothing, {connections} connections", "requests/s", [])
        for _ in range(options.rounds):
            with ceiling(options, home) as server:
                reference, _ = wrk(server, connections, options.seconds, "/foods", script)
            with fresh(options, home, log) as server:
                rate, share = wrk(server, connections, options.seconds, "/foods", script)
                check_total(server, rate * options.seconds)
                commands.memory.append(server.memory_peak())
            nothing.figures.append(reference)
            commands.figures.append(rate)
            commands.shares.append(share)
            commands.ratios.append(rate / reference)
        yield commands
        yield nothing
