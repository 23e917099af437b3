#!/bin/bash
# restic.sh DIRECTORY...: backs up with restic, and tells PING_URL when it begins and how it
# ended. A collector that is away does not delay or fail the backup; the script ends later by
# half a minute, or by a minute and a half if nothing answers.
run=$(cat /proc/sys/kernel/random/uuid)

ping() {
    curl -fsS -m 10 --retry 5 --retry-connrefused -o /dev/null "$PING_URL/$1?rid=$run"
}

ping start &
restic backup "$@"
code=$?
ping $code
exit $code
