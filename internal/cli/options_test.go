package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/provision"
	"github.com/cloudssh/cloudssh/internal/session"
	"github.com/cloudssh/cloudssh/internal/tty"
)

func TestParseDict(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		want  map[string]string
		err   string
	}{
		{nil, map[string]string{}, ""},
		{[]string{"A=1"}, map[string]string{"A": "1"}, ""},
		{[]string{"A=1,B=2", "C=3"}, map[string]string{"A": "1", "B": "2", "C": "3"}, ""},
		{[]string{"A=x=y"}, map[string]string{"A": "x=y"}, ""},
		{[]string{"A="}, map[string]string{"A": ""}, ""},
		{[]string{"^:^A=1,2:B=3"}, map[string]string{"A": "1,2", "B": "3"}, ""},
		{[]string{"^||^A=1|2||B=3"}, map[string]string{"A": "1|2", "B": "3"}, ""},
		{[]string{"A"}, nil, "want KEY=VALUE"},
		{[]string{"=1"}, nil, "want KEY=VALUE"},
		{[]string{"A=1,"}, nil, "want KEY=VALUE"},
		{[]string{"^:A=1"}, nil, "no closing ^"},
	} {
		got, err := parseDict("--update-env-vars", tt.flags)
		if tt.err != "" {
			var usage *usageError
			if err == nil || !strings.Contains(err.Error(), tt.err) || !errors.As(err, &usage) {
				t.Errorf("%q: error %v, want a usage error with %q", tt.flags, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.flags, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", tt.flags, d)
		}
	}
}

func TestExitCodes(t *testing.T) {
	twin := errors.New("deleting the twin: no")
	for _, tt := range []struct {
		name   string
		err    error
		code   int
		silent bool
	}{
		{"success", nil, 0, true},
		{"remote status", &session.ExitError{Code: 7}, 7, true},
		{"remote status, connecting", &connectionError{&session.ExitError{Code: 7}}, 7, true},
		{"remote status and a twin left", &connectionError{errors.Join(&session.ExitError{Code: 7}, twin)}, 7, false},
		{"no status", &connectionError{&session.NoStatusError{}}, 255, false},
		{"usage", usagef("no"), 2, false},
		{"twin failed", &connectionError{errors.New("not ready")}, 255, false},
		{"other", errors.New("no"), 1, false},
		{"Ctrl-C", errors.Join(&signalError{syscall.SIGINT}, nil), 130, false},
		{"SIGTERM", &signalError{syscall.SIGTERM}, 143, false},
		{"SIGHUP while connecting", &connectionError{fmt.Errorf("x: %w", &signalError{syscall.SIGHUP})}, 129, false},
		{"reader gone", &connectionError{fmt.Errorf("%w: %w", errOutput, syscall.EPIPE)}, 141, true},
		{"broken pipe elsewhere", &connectionError{fmt.Errorf("socket: %w", syscall.EPIPE)}, 255, false},
		{"escape", &connectionError{tty.ErrDisconnect}, 255, true},
	} {
		code, silent := exitCode(tt.err)
		if code != tt.code || silent != tt.silent {
			t.Errorf("%s: %d, silent %v; want %d, %v", tt.name, code, silent, tt.code, tt.silent)
		}
	}
}

// TestInterrupted: the signal is said once, and nothing that only follows from it.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := &signalError{syscall.SIGINT}
	cancel(signal)
	left := errors.New("a twin is left")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("waiting: %w", context.Canceled), "interrupted"},
		{context.Cause(ctx), "interrupted"},
		{errors.Join(fmt.Errorf("creating: %w", context.Canceled), left), "interrupted\na twin is left"},
		{asConnection(errors.Join(context.Cause(ctx), left)), "interrupted\na twin is left"},
	} {
		got := interrupted(ctx, tt.err)
		if got.Error() != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
		if code, _ := exitCode(got); code != exitSignal+int(syscall.SIGINT) {
			t.Errorf("%v: exit code %d", tt.err, code)
		}
	}
	if err := interrupted(ctx, nil); err != nil {
		t.Errorf("got %v for what ended well", err)
	}
}

// TestUserKeyIsMadeOnce: many first runs at once agree on one key, readable by
// its owner alone.
func TestUserKeyIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cloudssh")
	keys := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			k, err := userKey(dir)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = k.PublicKey().Marshal()
		})
	}
	wg.Wait()
	for _, k := range keys {
		if !bytes.Equal(k, keys[0]) {
			t.Fatal("two first runs made two keys")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("left in %s: %v", dir, entries)
	}
	info, err := os.Stat(filepath.Join(dir, "id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestUserKeyThatIsNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "id_ed25519"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := userKey(dir)
	if err == nil || len(provision.Hints(err)) == 0 {
		t.Errorf("error %v, hints %v", err, provision.Hints(err))
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 45 * time.Second: "45s", 12 * time.Minute: "12m", 7 * time.Hour: "7h", 72 * time.Hour: "3d",
		8*time.Hour - time.Second: "7h59m", 2 * time.Hour: "2h", 7*time.Hour + 59*time.Second: "7h", 30*time.Hour + time.Minute: "30h",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestReportsAreNeverNull(t *testing.T) {
	if got := reports(nil, time.Now()); got == nil || len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestHelpUnderAnotherName(t *testing.T) {
	for name, want := range map[string]string{"cloudssh": "cloudssh list --help", "cf cloudssh": "cf cloudssh help list"} {
		root := newRootCmd(&app{})
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: name}
		list, _, err := root.Find([]string{"list"})
		if err != nil {
			t.Fatal(err)
		}
		if got := helpOf(list); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
