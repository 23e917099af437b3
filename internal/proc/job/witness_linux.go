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

// witnessName is the process name of a witness. It differs from the name of the program,
// so that a signal to all processes with that name does not reach the witness.
const witnessName = "signal-witness"

// A witness is a process in our process group. In a terminal it shows whether a signal
// to us was sent to the whole group, so that the job has received it too. The terminal
// sends such a signal for Ctrl-C, and so does kill with the ID of the group. A Go
// program cannot see the origin of a signal (si_code), and that would only reveal
// signals from the terminal.
type witness struct {
	questions, answers *os.File // one byte each
}

// newWitness returns nil if it cannot start one.
func newWitness() *witness {
	asked, questions, err := os.Pipe()
	answers, said, err2 := os.Pipe()
	if err != nil || err2 != nil {
		return nil
	}
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it ends with us, when its questions end
	cmd.Args = []string{witnessName}
	cmd.Stdin, cmd.Stdout = asked, said
	err = cmd.Start()
	asked.Close()
	said.Close() // so that the answers end with the witness
	w := &witness{questions, answers}
	if _, ok := w.answer(); err != nil || !ok { // otherwise it records signals from now on
		return nil
	}
	return w
}

// saw reports whether the witness has received a signal too. Without a witness, it
// returns true for signals that usually come from the keyboard.
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

// answer reads the answer of the witness; ok is false if the witness is gone.
func (w *witness) answer() (yes, ok bool) {
	answer := make([]byte, 1)
	_, err := w.answers.Read(answer)
	return answer[0] == 1, err == nil
}

// IsWitness reports whether this process was started as a witness. If so, it does the
// work of the witness first, and the process can exit. A program that starts jobs calls
// IsWitness first.
func IsWitness() bool {
	if os.Args[0] != witnessName {
		return false
	}
	answerQuestions(os.Stdin, os.Stdout)
	return true
}

// marker is a signal that the witness sends to itself. It has the highest number, so
// earlier signals are delivered first.
const marker = syscall.Signal(64)

// answerQuestions answers the questions of the program until there are no more.
func answerQuestions(questions, answers *os.File) {
	s := sightings{seen: make(map[os.Signal][]time.Time), marked: make(chan struct{}, 1)}
	signals := make(chan os.Signal, 10*len(forwarded))
	signal.Notify(signals, append([]os.Signal{marker}, forwarded...)...)
	go s.collect(signals)                          // ends with the program
	question, answer := make([]byte, 1), []byte{1} // confirms that it records signals
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

// sightings are the received signals that no question has asked about yet.
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

// had reports whether a signal has arrived. The kernel signals the newest members of a
// group first, so the signal is pending here before there can be a question.
func (s *sightings) had(sig syscall.Signal) bool {
	for enough := time.Now().Add(10 * askDelay); isOnItsWay(sig) && time.Now().Before(enough); {
		time.Sleep(askDelay / 20)
	}
	if syscall.Kill(os.Getpid(), marker) == nil {
		<-s.marked // earlier signals have been collected too
	}
	return s.take(sig)
}

// isOnItsWay reports whether a signal is pending for one of our threads, or is blocked
// there (proc_pid_status(5)). A thread blocks all signals while it handles one.
func isOnItsWay(sig syscall.Signal) bool {
	const tasks = "/proc/self/task/"
	threads, _ := os.ReadDir(tasks) //nolint:errcheck // without it, nothing is known to be pending
	return slices.ContainsFunc(threads, func(thread os.DirEntry) bool {
		text, _ := os.ReadFile(tasks + thread.Name() + "/status") //nolint:errcheck // it may have ended
		return isInSets(string(text), sig)
	})
}

// isInSets reports whether a signal is in one of the signal sets of a status.
func isInSets(status string, sig syscall.Signal) bool {
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
	// The kernel may merge two signals in quick succession into one, so no question follows
	// for the other.
	fresh := slices.DeleteFunc(s.seen[sig], func(at time.Time) bool { return time.Since(at) > time.Second })
	s.seen[sig] = fresh[min(1, len(fresh)):]
	return len(fresh) > 0
}
