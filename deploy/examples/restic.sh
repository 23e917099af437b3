#!/bin/bash
# restic.sh DIRECTORY...: backs up with restic, and tells PING_URL when it begins and how it
# ended. A collector that is away neither delays nor fails the backup.
run=$(cat /proc/sys/kernel/random/uuid)

ping() {
    curl -fsS -m 10 --retry 5 --retry-connrefused -o /dev/null "$PING_URL/$1?rid=$run"
}

ping start &
restic backup "$@"
code=$?
ping $code
exit $code
