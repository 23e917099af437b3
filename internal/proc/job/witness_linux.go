package job

import (
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// witnessName is what this program is called when it is a witness: another name,
// so that a signal to the program by name does not reach it.
const witnessName = "signal-witness"

// A witness is a process in our process group. In a terminal it shows whether a
// signal that reached us was sent to the whole group, so that the job has it too:
// by the terminal itself, for Ctrl-C, or by kill with the number of the group. A
// program in Go cannot see who sent a signal (si_code), and that would show only
// the former.
type witness struct {
	questions, answers *os.File // a byte each
}

// newWitness returns nil if none can be started.
func newWitness() *witness {
	asked, questions, err := os.Pipe()
	answers, said, err2 := os.Pipe()
	if err != nil || err2 != nil {
		return nil
	}
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it ends with us: then there are no more questions
	cmd.Args = []string{witnessName}
	cmd.Stdin, cmd.Stdout = asked, said
	err = cmd.Start()
	asked.Close()
	said.Close() // so that the end of the witness is that of its answers
	w := &witness{questions, answers}
	if _, ok := w.answer(); err != nil || !ok { // else it looks from now on
		return nil
	}
	return w
}

// saw reports whether the witness has received a signal too. Without a witness
// that is assumed of signals that usually come from the keyboard.
func (w *witness) saw(sig syscall.Signal) bool {
	if w != nil {
		if _, err := w.questions.Write([]byte{byte(sig)}); err == nil {
			if had, ok := w.answer(); ok {
				return had
			}
		}
	}
	return isFromKeys(sig)
}

// answer reports false for ok when the witness is gone.
func (w *witness) answer() (yes, ok bool) {
	answer := make([]byte, 1)
	_, err := w.answers.Read(answer)
	return answer[0] == 1, err == nil
}

// IsWitness reports whether this process was started as a witness; then it has
// done its work and may exit. A program that starts jobs calls it first.
func IsWitness() bool {
	if os.Args[0] != witnessName {
		return false
	}
	testify(os.Stdin, os.Stdout)
	return true
}

// marker is a signal that the witness sends to itself. It has the greatest
// number, so whatever came before it is handed out first.
const marker = syscall.Signal(64)

// testify answers questions until there are no more.
func testify(questions, answers *os.File) {
	s := sightings{seen: make(map[os.Signal][]time.Time), marked: make(chan struct{}, 1)}
	signals := make(chan os.Signal, 10*len(passed))
	signal.Notify(signals, append([]os.Signal{marker}, passed...)...)
	go s.collect(signals)                          // ends with the program
	question, answer := make([]byte, 1), []byte{1} // that it looks
	for {
		if _, err := answers.Write(answer); err != nil {
			return
		}
		if _, err := questions.Read(question); err != nil {
			return
		}
		answer[0] = 0
		if s.had(syscall.Signal(question[0])) {
			answer[0] = 1
		}
	}
}

// sightings are the signals that were not asked about yet.
type sightings struct {
	marked chan struct{}

	mu   sync.Mutex                // guards what follows
	seen map[os.Signal][]time.Time // when each came
}

func (s *sightings) collect(signals <-chan os.Signal) {
	for sig := range signals {
		if sig == marker {
			s.marked <- struct{}{}
			continue
		}
		s.mu.Lock()
		s.seen[sig] = append(s.seen[sig], time.Now())
		s.mu.Unlock()
	}
}

// had reports whether a signal has come. The kernel signals those that came last
// to a group first, so it is on its way here before anybody can ask.
func (s *sightings) had(sig syscall.Signal) bool {
	for enough := time.Now().Add(10 * askDelay); isOnItsWay(sig) && time.Now().Before(enough); {
		time.Sleep(askDelay / 20)
	}
	if syscall.Kill(os.Getpid(), marker) == nil {
		<-s.marked // what came before it has been collected too
	}
	return s.take(sig)
}

// isOnItsWay reports whether a signal waits for one of our threads, or is blocked
// there, as all are while a thread is taking one in (proc_pid_status(5)).
func isOnItsWay(sig syscall.Signal) bool {
	const tasks = "/proc/self/task/"
	threads, _ := os.ReadDir(tasks) //nolint:errcheck // without it nothing is known to be on its way
	return slices.ContainsFunc(threads, func(thread os.DirEntry) bool {
		text, _ := os.ReadFile(tasks + thread.Name() + "/status") //nolint:errcheck // it may have ended
		return holds(string(text), sig)
	})
}

// holds reports whether a signal is in one of the sets of a status.
func holds(status string, sig syscall.Signal) bool {
	for _, name := range []string{"SigPnd:\t", "ShdPnd:\t", "SigBlk:\t"} {
		_, after, _ := strings.Cut(status, name)
		digits, _, _ := strings.Cut(after, "\n")
		set, err := strconv.ParseUint(digits, 16, 64)
		if err == nil && set&(1<<(sig-1)) != 0 {
			return true
		}
	}
	return false
}

func (s *sightings) take(sig syscall.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The kernel makes one of two that come fast; nobody asks about the other.
	fresh := slices.DeleteFunc(s.seen[sig], func(at time.Time) bool { return time.Since(at) > time.Second })
	s.seen[sig] = fresh[min(1, len(fresh)):]
	return len(fresh) > 0
}
