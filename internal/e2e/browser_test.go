//go:build linux

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// A tab is one of a real Chromium, and what it has asked for and complained about.
type tab struct {
	testing.TB
	run  func(chromedp.Action[chromedp.Void]) error
	eval func(script string) (bool, error)

	mu       sync.Mutex
	asked    []string // URLs
	problems []string // as the console shows them
}

// openTab opens a page in a browser that is closed at the end of the test.
func openTab(t testing.TB, url string) *tab {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium, to open the page")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{
		TB:   t,
		run:  func(do chromedp.Action[chromedp.Void]) error { return chromedp.Do(ctx, do) },
		eval: func(script string) (bool, error) { return chromedp.Run(ctx, chromedp.Evaluate[bool](script)) },
	}
	require.NoError(t, chromedp.Listen(ctx, b.note))
	b.do(chromedp.Navigate(url))
	return b
}

// note takes an event of the browser.
func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, "console."+string(e.Type))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, fmt.Sprint(e.Entry.Source, ": ", e.Entry.Text))
	}
}

func (b *tab) do(action chromedp.Action[chromedp.Void]) {
	b.Helper()
	require.NoError(b, b.run(action))
}

// holds reports whether an expression in JavaScript is true.
func (b *tab) holds(expression string) bool {
	b.Helper()
	is, err := b.eval("!!(" + expression + ")")
	require.NoError(b, err, expression)
	return is
}

// until waits until an expression in JavaScript is true.
func (b *tab) until(what, expression string) {
	b.Helper()
	testkit.Until(b, what, func() bool { return b.holds(expression) })
}

// set runs a statement in JavaScript.
func (b *tab) set(statement string) {
	b.Helper()
	_, err := b.eval(statement + "; true")
	require.NoError(b, err)
}

// complaints returns what the console shows, and forgets it.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.problems
	b.problems = nil
	return all
}

// elsewhere returns what was asked for that is not below a URL.
func (b *tab) elsewhere(url string) (foreign []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, asked := range b.asked {
		if !strings.HasPrefix(asked, url) && asked != "data:," {
			foreign = append(foreign, asked)
		}
	}
	return foreign
}
