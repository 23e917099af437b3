package charts

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Only one chart uses the fields that can be excluded according to docs/operating.md.
func TestFieldsToLeaveOutAreNotAskedFor(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	require.NoError(t, err)
	list := regexp.MustCompile(`fieldexclude = \[(.*)\]`).FindSubmatch(text)
	require.NotNil(t, list)
	fields := regexp.MustCompile(`"(\w+)"`).FindAllSubmatch(list[1], -1)
	require.Len(t, fields, 2)
	var queries []string
	for _, p := range Panels() {
		if p.Title != "Allowed silence used" {
			queries = append(queries, p.InfluxQL, p.PromQL)
		}
		for _, c := range p.Columns {
			queries = append(queries, c.PromQL)
		}
	}
	require.Contains(t, string(text), "*Allowed silence used*")
	for _, r := range Rules() {
		queries = append(queries, r.InfluxQL, r.PromQL)
	}
	for _, a := range Annotations() {
		queries = append(queries, a.InfluxQL, a.PromQL)
	}
	for _, field := range fields {
		asked := regexp.MustCompile(`(\b|heartbeat_peer_)` + string(field[1]) + `\b`)
		for _, query := range queries {
			require.NotRegexp(t, asked, query)
		}
	}
}
