# Completion of heartbeat-sender for fish. Written by make docs: do not edit.

# Is the first word one of these, or any word at all?
function __heartbeat_sender_after
	set -l words (commandline -opc)
	test (count $words) -gt 1; or return
	test (count $argv) -eq 0; or contains -- $words[2] $argv
end

complete -c heartbeat-sender -f
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a run -d 'stay connected and beat until stopped, then say goodbye'
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a once -d 'send one beat and wait until it is acknowledged: for cron and timers'
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a exec -d 'run CMD, beat while it runs and tell how it ended'
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a leave -d 'say goodbye and wait until it is acknowledged; -host NAME: for another host'
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a check -d 'say step by step what works, without leaving a trace'
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a version -d 'print the version'
complete -c heartbeat-sender -n 'not __heartbeat_sender_after' -a help -d 'print all flags, or those of a command'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o server -x -d 'collector, tcp:// tls:// udp:// or unix://; several get each beat'
complete -c heartbeat-sender -n '__heartbeat_sender_after run exec check' -o interval -x -d 'between two beats'
complete -c heartbeat-sender -n '__heartbeat_sender_after once' -o every -x -d 'when it is called again; without it the collector cannot know'
complete -c heartbeat-sender -n '__heartbeat_sender_after once exec' -o grace -x -d 'how late the next beat may be; else the collector decides'
complete -c heartbeat-sender -n '__heartbeat_sender_after once' -o splay -x -d 'wait a random part of it first, so that a fleet is not in step'
complete -c heartbeat-sender -n '__heartbeat_sender_after once leave check' -o timeout -x -d 'for connecting, sending and the answer'
complete -c heartbeat-sender -n '__heartbeat_sender_after run exec leave' -o back-in -x -d 'promise of the goodbye: not back within it is dead'
complete -c heartbeat-sender -n '__heartbeat_sender_after leave' -o cancel -d 'take back what an earlier goodbye promised'
complete -c heartbeat-sender -n '__heartbeat_sender_after exec' -o max-runtime -x -d 'end CMD when it takes longer: SIGTERM, 10 s later SIGKILL'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o host -x -d 'name of the host, if not its own'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o service -x -d 'its name; without a target: speak for it, not for the host'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once leave check' -o pid -x -d 'target: watch this process'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once leave check' -o pid-file -r -F -d 'target: watch the process whose number is in it'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once leave check' -o systemd-unit -x -d 'target: watch the main process of a unit'
complete -c heartbeat-sender -n '__heartbeat_sender_after run' -o restart-grace -x -d 'back within it, a target was restarted; else it is dead'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o ip -x -d 'address to tell, if not the local one of the connection'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec' -o status -x -d 'a word for alive, or dead to report a death'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o tag -x -d 'label, may be repeated; the collector keeps those in its tag_keys'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o tls-ca -r -F -d 'who certifies collectors of tls://, if it is nobody that the system trusts'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o tls-cert -r -F -d 'certificate to show to them'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o tls-key -r -F -d 'its key'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o tls-server-name -x -d 'name in the certificate of collectors, if not that of the URL'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o key-file -r -F -d 'secret to sign beats with; without it heartbeat.key in $CREDENTIALS_DIRECTORY'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o key-id -x -d 'name of that secret, if not the name of the host'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o quiet -d 'do not print what was not delivered; wrong settings still are'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check' -o config -r -F -d 'settings in TOML'
complete -c heartbeat-sender -n '__heartbeat_sender_after run once exec leave check version help' -o h -d 'print the flags of the command'
complete -c heartbeat-sender -n '__heartbeat_sender_after exec' -x -a '(__fish_complete_subcommand --fcs-skip=2 -server -interval -grace -back-in -max-runtime -host -service -ip -status -tag -tls-ca -tls-cert -tls-key -tls-server-name -key-file -key-id -config)'
complete -c heartbeat-sender -n '__heartbeat_sender_after help' -x -a 'run once exec leave check version help'
