# Completion of telegraf-heartbeat for fish. Written by make docs: do not edit.

# Is the first word one of these, or any word at all?
function __telegraf_heartbeat_after
	set -l words (commandline -opc)
	test (count $words) -gt 1; or return
	test (count $argv) -eq 0; or contains -- $words[2] $argv
end

complete -c telegraf-heartbeat -f
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after' -a peers -d 'print who is dead or alive, since when and why'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o config -r -F -d '[[inputs.heartbeat]] tables; without the default file one instance with defaults'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o interval -x -d 'gather on its own, e.g. every 10s, and ignore stdin, so that it also runs under systemd with stdin on /dev/null; without it each line on stdin gathers and the end of stdin is the end of the run, signal = "STDIN"'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o listen -x -d 'a try without Telegraf and configuration, e.g. tcp://:7878: prints what happens to peers, ignores stdin'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o check -d 'check the configuration and the files it names, print "ok", exit'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o print-telegraf-conf -d 'print [[inputs.execd]] for telegraf.conf, exit'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o sample-config -d 'print the options of [[inputs.heartbeat]], exit'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o version -d 'print the version, exit'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o debug -d 'log debug messages'
complete -c telegraf-heartbeat -n 'not __telegraf_heartbeat_after peers' -o help -d 'print the flags, exit'
complete -c telegraf-heartbeat -n '__telegraf_heartbeat_after peers' -o dead -d 'only the dead'
complete -c telegraf-heartbeat -n '__telegraf_heartbeat_after peers' -o config -r -F -d 'where the collector is configured, for its \'state_file\''
complete -c telegraf-heartbeat -n '__telegraf_heartbeat_after peers' -o state-file -r -F -d 'a state file itself'
complete -c telegraf-heartbeat -n '__telegraf_heartbeat_after peers' -o help -d 'print the flags, exit'
