#!/bin/bash
# heartbeat.sh HOST PORT: beats every ten seconds, says goodbye at SIGTERM.
exec 3<>"/dev/tcp/$1/$2" || exit 1

say() {
    local payload='{"host":"'$HOSTNAME'","service":"shop","pid":'$$',"status":"'$1'","interval_ms":10000,"ack":true}'
    local size high low
    printf -v size '\\x%02x' 0 0 $((${#payload} / 256)) $((${#payload} % 256))
    printf "$size%s" "$payload" >&3 || return
    read -r _ _ high low < <(dd bs=1 count=4 <&3 2>/dev/null | od -An -tu1) || return
    dd bs=1 count=$((high * 256 + low)) <&3 2>/dev/null && echo
}

trap 'say leaving; exit' TERM INT
while say alive; do
    sleep 10 3>&- & # must not keep the connection open
    wait $!
done
