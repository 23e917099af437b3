# Completion of heartbeat-sender and telegraf-heartbeat for bash. It asks the
# program for its commands and flags.
# shellcheck shell=bash

_heartbeat() {
	local name=${1##*/} word=$2 before=$3 command='' help words='' i
	local flag='^-'
	COMPREPLY=()

	# bash splits -flag=value into three words. Two dashes are the same as one.
	if [ "$word" = = ]; then
		word=
	elif [ "$before" = = ]; then
		before=${COMP_WORDS[COMP_CWORD-2]}
	fi
	before=${before/#--/-}

	[[ $COMP_CWORD -gt 1 && ! ${COMP_WORDS[1]} =~ $flag ]] && command=${COMP_WORDS[1]}
	[ "$command" = help ] && command=
	help=$("$1" ${command:+"$command"} -h 2>/dev/null)

	if [ "$command" = exec ]; then
		for ((i = 2; i <= COMP_CWORD; i++)); do
			case ${COMP_WORDS[i]/#--/-} in
			-) ((i++)) && break ;;
			-*)
				if _heartbeat_value "${COMP_WORDS[i]/#--/-}" >/dev/null; then
					[ "${COMP_WORDS[i+1]}" = = ] && ((i++))
					((i++))
				fi ;;
			*) break ;;
			esac
		done
		if [ "$i" -le "$COMP_CWORD" ]; then
			_heartbeat_rest "$i"
			return
		fi
	fi

	case $(_heartbeat_value "$before") in
	'') ;;
	FILE)
		compopt -o filenames 2>/dev/null # fails if no completion is running
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return ;;
	CMD)
		mapfile -t COMPREPLY < <(compgen -c -- "$word")
		return ;;
	*) return ;;
	esac

	if [ -n "$command" ] || [[ $help == *"$name [flags]"* ]]; then
		words=$(sed -nE 's/^  (-[A-Za-z-]+) .*/\1/p' <<<"$help")
	fi
	if [ -z "$command" ] && [ "$COMP_CWORD" -eq 1 ] || [ "${COMP_WORDS[1]}" = help ]; then
		words+=" $(sed -nE "s/^(  | +$name )([a-z]+|check-[a-z]+) .*/\2/p" <<<"$help" | sort -u)"
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

# _heartbeat_value FLAG: prints the value placeholder of a flag in the help; fails if it has none.
_heartbeat_value() {
	[[ $help =~ $'\n'"  $1 "([A-Z]+)[\ =] ]] && echo "${BASH_REMATCH[1]}"
}

# _heartbeat_rest I: completes the words from number I on as their own command
# line.
_heartbeat_rest() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$1"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif [ "$1" -eq "$COMP_CWORD" ]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$word")
	else
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	fi
}

complete -F _heartbeat heartbeat-sender telegraf-heartbeat
