//go:build linux || darwin

package agent

import (
	"errors"
	"io"
	"syscall"

	"github.com/pkg/sftp"
)

// serveSFTP serves files as the agent's own user, starting in the app's
// directory.
func (s *session) serveSFTP() {
	dir, _ := s.conn.server.settings.App.dir()
	server, err := sftp.NewServer(s.channel, sftp.WithServerWorkingDirectory(dir))
	if err == nil {
		err = server.Serve()
		server.Close() //nolint:errcheck // closes the files the client left open
	}
	status := 0
	if err != nil && !errors.Is(err, io.EOF) {
		s.conn.log.Warn("sftp", "reason", err.Error())
		status = 1
	}
	s.exit(exitStatus{status: syscall.WaitStatus(status << 8)})
}
