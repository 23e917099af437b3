package testkit

import (
	"os"
	"testing"
	"time"
)

func TestMountHangsUntilTheTestEnds(t *testing.T) {
	came := make(chan error, 1)
	t.Run("mounted", func(t *testing.T) {
		name := MountHanging(t) + "/file"
		go func() { // ends when the file system is unmounted
			_, err := os.Stat(name)
			came <- err
		}()
		select {
		case err := <-came:
			t.Fatal("it answers:", err)
		case <-time.After(100 * time.Millisecond):
		}
	})
	if err := <-came; err == nil {
		t.Fatal("there is a file")
	}
}
