package manual

import (
	"fmt"
	"strings"
)

// Bash returns the completion of the program for bash.
func (p *Program) Bash() string {
	var b strings.Builder
	function := "_" + strings.ReplaceAll(p.Name, "-", "_")
	fmt.Fprintf(&b, "# Completion of %s for bash. Written by make docs: do not edit.\n# shellcheck shell=bash\n\n", p.Name)
	fmt.Fprintf(&b, "%s() {\n%s", function, bashWords)
	for _, c := range p.Commands {
		if c.Wraps {
			fmt.Fprintf(&b, bashWraps, c.Name, bashPattern(flags(p.optionsOf(c.Name), func(o Option) bool { return !takesValue(o) })))
		}
	}
	b.WriteString("\tcase $before in\n")
	if names := flags(p.Options, takesFile); len(names) > 0 {
		fmt.Fprintf(&b, "\t%s)\n%s\t\treturn ;;\n", bashPattern(names), bashFiles)
	}
	if names := flags(p.Options, takesOther); len(names) > 0 {
		fmt.Fprintf(&b, "\t%s)\n\t\treturn ;;\n", bashPattern(names))
	}
	b.WriteString("\tesac\n\tcase $command in\n")
	for _, c := range p.named() {
		words := flags(p.optionsOf(c.Name), anyOption)
		if c.Helps {
			words = append(p.names(), words...)
		}
		fmt.Fprintf(&b, "\t%s) words=%s ;;\n", c.Name, quoted(strings.Join(words, " ")))
	}
	fmt.Fprintf(&b, "\t*)\n\t\twords=%s\n", quoted(strings.Join(flags(p.optionsOf(""), anyOption), " ")))
	fmt.Fprintf(&b, "\t\t[ \"$COMP_CWORD\" -eq 1 ] && words=%s\" $words\" ;;\n", quoted(strings.Join(p.names(), " ")))
	fmt.Fprintf(&b, "\tesac\n\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n\ncomplete -F %s %s\n", function, p.Name)
	return b.String()
}

func (p *Program) names() []string {
	var names []string
	for _, c := range p.named() {
		names = append(names, c.Name)
	}
	return names
}

// bashPattern matches any of the flags.
func bashPattern(flags []string) string {
	if len(flags) == 0 {
		return "''"
	}
	return strings.Join(flags, " | ")
}

// bash makes three words of -flag=value. Two dashes are as good as one.
const bashWords = `	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
	local command=${COMP_WORDS[1]} words
	COMPREPLY=()
	if [ "$word" = = ]; then
		word=
	elif [ "$before" = = ]; then
		before=${COMP_WORDS[COMP_CWORD-2]}
	fi
	before=${before/#--/-}
	[ "$COMP_CWORD" -eq 1 ] && command=
`

// What follows the flags is completed as if it stood alone.
const bashWraps = `	if [ "$command" = %s ]; then
		local i
		for ((i = 2; i <= COMP_CWORD; i++)); do
			case ${COMP_WORDS[i]/#--/-} in
			-) ((i++)) && break ;;
			%s) ;;
			-*)
				[ "${COMP_WORDS[i+1]}" = = ] && ((i++))
				((i++)) ;;
			*) break ;;
			esac
		done
		if [ "$i" -le "$COMP_CWORD" ]; then
			if declare -F _comp_command_offset >/dev/null; then
				_comp_command_offset "$i"
			elif declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			elif [ "$i" -eq "$COMP_CWORD" ]; then
				mapfile -t COMPREPLY < <(compgen -c -- "$word")
			else
				compopt -o filenames 2>/dev/null
				mapfile -t COMPREPLY < <(compgen -f -- "$word")
			fi
			return
		fi
	fi
`

// compopt has nothing to say to whoever calls the function by hand.
const bashFiles = `		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
`

// quoted returns a text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
