#!/bin/bash
# restic.sh DIRECTORY...: backs up with restic, and reports the start and the exit code to
# PING_URL. If the collector is away, the backup is not delayed and does not fail, but the
# script ends half a minute later, or a minute and a half if nothing answers.
run=$(cat /proc/sys/kernel/random/uuid)

ping() {
    curl -fsS -m 10 --retry 5 --retry-connrefused -o /dev/null "$PING_URL/$1?rid=$run"
}

ping start &
restic backup "$@"
code=$?
ping $code
exit $code
