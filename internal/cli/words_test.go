package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWordsOfACommandLine(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                     nil,
		" \t\n":                                nil,
		"check_load":                           {"check_load"},
		"  check_load  -w 5,4,3\t-c\n10 ":      {"check_load", "-w", "5,4,3", "-c", "10"},
		`sh -c 'test "$(df /)" | wc'`:          {"sh", "-c", `test "$(df /)" | wc`},
		`sh -c "echo 'a b' > c"`:               {"sh", "-c", "echo 'a b' > c"},
		`a'b c'd"e f"`:                         {"ab cde f"},
		`'' "" x`:                              {"", "", "x"},
		`a\ b \' \" "\"" "\'"`:                 {"a b", "'", `"`, `"`, "'"},
		`C:\check.exe "C:\a b\c.exe" \\host\d`: {`C:\check.exe`, `C:\a b\c.exe`, `\\host\d`},
		`'\' "a\d" \`:                          {`\`, `a\d`, `\`},
		"$HOME *.txt ; a|b & c#d":              {"$HOME", "*.txt", ";", "a|b", "&", "c#d"},
	} {
		got, err := Words(line)
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
}

func TestQuoteThatIsNotClosed(t *testing.T) {
	for line, want := range map[string]string{
		`sh -c 'exit 2`: `"sh -c 'exit 2" lacks a closing '`,
		`sh -c "exit\"`: `"sh -c \"exit\\\"" lacks a closing "`,
	} {
		_, err := Words(line)
		require.EqualError(t, err, want)
	}
}

func FuzzLineIsCutIntoItsWords(f *testing.F) {
	for _, word := range []string{"", "a b", `'`, `"`, `\`, `\'`, `'\''"`, "\n", "\xff"} {
		f.Add(word, word)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		words := []string{first, second}
		got, err := Words(Line(words))
		require.NoError(t, err)
		require.Equal(t, words, got)
	})
}
