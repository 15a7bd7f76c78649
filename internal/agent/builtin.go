//go:build linux || darwin

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cloudssh/cloudssh/internal/scp"
)

// runLine runs a command line as sshd does, in the user's shell. What old file
// transfer clients ask for works without the programs they ask for, and a line
// that is only words works without a shell.
func (s *session) runLine(line string) {
	copying := func() (scp.Command, bool) { return scp.Parse(line, s.words()) }
	if s.interactive() || !s.builtin(strings.Fields(line), copying) {
		prog, err := s.shellProgram(line)
		s.run(s.withoutShell(line, prog, err))
	}
}

// withoutShell makes do without a shell where there is none.
func (s *session) withoutShell(line string, prog program, err error) (program, error) {
	var missing *startError
	if !errors.As(err, &missing) || missing.status != 127 || s.wish != "" && s.wish != shellAuto {
		return prog, err
	}
	args, ok := scp.Words(line, s.words())
	if !ok {
		return prog, err
	}
	prog, lookErr := s.argvProgram(args)
	if lookErr != nil {
		return prog, &startError{127, fmt.Sprintf("%v, and %v", lookErr, err)}
	}
	return prog, nil
}

// runArgs runs an argument vector.
func (s *session) runArgs(args []string) {
	copying := func() (scp.Command, bool) { return scp.FromArgs(args) }
	if s.interactive() || !s.builtin(args, copying) {
		s.run(s.argvProgram(args))
	}
}

// words is what a shell in this session would know.
func (s *session) words() scp.Environment {
	env := s.environ()
	get := func(name string) string {
		value, _ := getenv(env, name)
		return value
	}
	return scp.Environment{Getenv: get, Home: func(user string) (string, bool) {
		if user == "" {
			return get("HOME"), true
		}
		return homeOfUser(user, "/etc/passwd")
	}}
}

// homeOfUser is the home directory of a user by name.
func homeOfUser(name, passwd string) (string, bool) {
	text, err := os.ReadFile(passwd)
	if err != nil {
		return "", false // images without the file are common
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) == 7 && fields[0] == name && fields[5] != "" {
			return fields[5], true
		}
	}
	return "", false
}

// builtin takes over a command whose program is not in the image: it does its
// work or, if it cannot, says what could instead. It is false for every other
// command. copying reads scp's.
func (s *session) builtin(args []string, copying func() (scp.Command, bool)) bool {
	if len(args) == 0 {
		return false
	}
	const instead = "; scp, sftp, sshfs and `cloudssh cp` need nothing in the image"
	dir, _ := s.conn.server.settings.App.dir()
	var serve func()
	switch program := filepath.Base(args[0]); {
	case program == "scp":
		command, ok := copying()
		if !ok {
			return false
		}
		serve = func() { go s.serveSCP(command, dir) }
	case program == "sftp-server" && len(args) == 1:
		serve = func() { go s.serveSFTP() }
	case program == "rsync" && slices.Contains(args, "--server"):
		serve = func() {
			s.fail(&startError{127, "rsync: not found in this image, and rsync needs itself at both ends" + instead})
		}
	case slices.Contains([]string{"git-upload-pack", "git-receive-pack", "git-upload-archive"}, program):
		serve = func() { s.fail(&startError{127, program + ": not found: there is no git in this image" + instead}) }
	default:
		return false
	}
	if _, err := lookPath(args[0], s.environ(), dir); err == nil {
		return false
	}
	serve()
	return true
}

// A sessionWriter is the output of what the agent does itself.
type sessionWriter struct {
	session *session
	to      io.Writer
}

func (w sessionWriter) Write(p []byte) (int, error) { return w.session.write(w.to, p) }

// serveSCP copies files as scp's server side.
func (s *session) serveSCP(command scp.Command, dir string) {
	status := command.Serve(s.channel, sessionWriter{s, s.channel}, sessionWriter{s, s.channel.Stderr()}, dir)
	s.exit(exitStatus{status: syscall.WaitStatus(status << 8)})
}
