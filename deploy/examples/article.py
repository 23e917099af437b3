#!/usr/bin/env python3
"""article.py HOST PORT: sends bare JSON every 50 seconds; never reads, never says goodbye."""
import json, os, socket, sys, time

conn = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
conn.connect((sys.argv[1], int(sys.argv[2])))
beat = {"ip": socket.gethostbyname(socket.gethostname()), "status": "alive", "pid": os.getpid()}
while True:
    try:
        conn.send(json.dumps(beat).encode())
    except socket.error:
        sys.exit()
    time.sleep(50)
