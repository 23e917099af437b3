package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each test that a document names must exist.
func TestTestsThatDocumentsNameExist(t *testing.T) {
	defined, documents := testsAndDocuments(t)
	name := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	for _, document := range documents {
		for _, test := range name.FindAllString(read(t, document), -1) {
			require.True(t, defined[test], "%s names %s", document, test)
		}
	}
}

// Each test that "make test-processors" leaves out must exist.
func TestTestsThatAreLeftOutExist(t *testing.T) {
	defined, _ := testsAndDocuments(t)
	lists := regexp.MustCompile(`(?m)^(?:REPEATED|STARTED_AGAIN|PIDFD|NANOSECONDS) =((?:.*\\\n)*.*)$`)
	found := lists.FindAllStringSubmatch(read(t, filepath.Join(root, "Makefile")), -1)
	require.Len(t, found, 4)
	for _, list := range found {
		for test := range strings.FieldsSeq(strings.ReplaceAll(list[1], "\\\n", " ")) {
			require.True(t, defined["Test"+test], "the Makefile leaves out Test%s", test)
		}
	}
}

// testsAndDocuments returns the names of all tests, and the paths of all documents.
func testsAndDocuments(t *testing.T) (defined map[string]bool, documents []string) {
	t.Helper()
	defined = make(map[string]bool)
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "build" || entry.Name() == ".git"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			for _, match := range definition.FindAllStringSubmatch(read(t, path), -1) {
				defined[match[1]] = true
			}
		case strings.HasSuffix(path, ".md"):
			documents = append(documents, path)
		}
		return nil
	}))
	require.NotEmpty(t, documents)
	return defined, documents
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
