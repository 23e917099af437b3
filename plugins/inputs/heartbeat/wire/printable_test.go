package wire

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		`certificate is valid for "a"`:    `certificate is valid for "a"`,
		"x509: \x1b[31m\nE! fine\r\t\x00": `x509: \x1b[31m\nE! fine\r\t\x00`,
		"müller-pc":                       "müller-pc",
		"a\u202eb\u200bc\u00a0d\u0085":    `a\u202eb\u200bc\u00a0d\u0085`,
		"\xff\xc3":                        `\xff\xc3`,
	} {
		require.Equal(t, want, Printable(text), "%q", text)
	}
}

func TestPrintableIsCut(t *testing.T) {
	for _, char := range []string{"x", "ü", "日", "\x00"} {
		text := Printable(strings.Repeat(char, 1000))
		require.LessOrEqual(t, len(text), maxPrintable+len("..."))
		require.True(t, strings.HasSuffix(text, "..."))
		require.True(t, utf8.ValidString(text))
	}
}

func TestLineHasRoomForItsLimit(t *testing.T) {
	require.Equal(t, "abc", Line("abc", 3))
	require.Equal(t, "ab...", Line("abc", 2))
	require.Equal(t, "a...", Line("aü", 2), "half a character is not printable")
	require.Equal(t, `a\n...`, Line("a\nb", 3), "escapes count as they are written")
}

func FuzzPrintable(f *testing.F) {
	f.Add("x509: \x1b[31m\nE! fine")
	f.Add("\u202e\xff\ufffd" + strings.Repeat("ü", 300))
	f.Fuzz(func(t *testing.T, text string) {
		got := Printable(text)
		invisible := func(c rune) bool { return !unicode.IsPrint(c) && c != utf8.RuneError }
		if len(got) > maxPrintable+len("...") || !utf8.ValidString(got) || strings.ContainsFunc(got, invisible) {
			t.Fatalf("%q is printed as %q", text, got)
		}
	})
}
