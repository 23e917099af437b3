#!/usr/bin/env python3
"""heartbeat.py HOST PORT: beats every ten seconds, says goodbye at SIGTERM."""
import json, os, signal, socket, struct, sys

server = sys.argv[1], int(sys.argv[2])
beat = {"host": socket.gethostname(), "service": "shop", "pid": os.getpid(),
        "run": os.urandom(8).hex(), "seq": 0, "interval_ms": 10000, "ack": True}

def say(stream, status):
    beat.update(status=status, seq=beat["seq"] + 1)
    payload = json.dumps(beat).encode()
    stream.write(struct.pack(">I", len(payload)) + payload)
    stream.flush()
    size, = struct.unpack(">I", stream.read(4))
    print(json.loads(stream.read(size)), flush=True)

stop = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # sigtimedwait receives them below
stopped = None
while not stopped:
    try:
        with socket.create_connection(server, timeout=5) as conn, conn.makefile("rwb") as stream:
            say(stream, "alive")
            while not (stopped := signal.sigtimedwait(stop, 10)):
                say(stream, "alive")
            say(stream, "leaving")
    except (OSError, ValueError, struct.error) as broken:  # connect again
        print(broken, file=sys.stderr, flush=True)
        stopped = stopped or signal.sigtimedwait(stop, 5)
