//go:build linux || darwin

package agent

import (
	"errors"
	"io"
	"syscall"

	"github.com/pkg/sftp"
)

// An openChannel keeps the SFTP server from closing the channel: the exit status
// is still to come, and scp takes its absence for a failure.
type openChannel struct{ session *session }

func (c openChannel) Read(p []byte) (int, error)  { return c.session.channel.Read(p) }
func (c openChannel) Write(p []byte) (int, error) { return c.session.write(c.session.channel, p) }

// Close tells the client that no answers come any more.
func (c openChannel) Close() error {
	c.session.closeOutput()
	return nil
}

// serveSFTP serves files as the agent's own user, starting in the app's
// directory.
func (s *session) serveSFTP() {
	dir, _ := s.conn.server.settings.App.dir()
	server, err := sftp.NewServer(openChannel{s}, sftp.WithServerWorkingDirectory(dir))
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
