//go:build linux || darwin

package agent

import (
	"io"
	"syscall"

	"github.com/cloudssh/cloudssh/internal/sftp"
)

// sftpStream is a session's channel as the SFTP server sees it. The server does
// not close it: the exit status is still to come, and scp takes its absence for
// a failure.
type sftpStream struct{ session *session }

func (c sftpStream) Read(p []byte) (int, error)  { return c.session.channel.Read(p) }
func (c sftpStream) Write(p []byte) (int, error) { return c.session.write(c.session.channel, p) }

var _ io.ReadWriter = sftpStream{}

// serveSFTP serves files as the agent's own user, starting in the app's
// directory.
func (s *session) serveSFTP() {
	dir, _ := s.conn.server.settings.App.dir()
	home, _ := getenv(s.conn.server.env, "HOME")
	status := 0
	if err := sftp.Serve(sftpStream{s}, sftp.Options{Dir: dir, Home: home, Logger: s.conn.log}); err != nil {
		s.conn.log.Warn("sftp", "reason", err.Error())
		status = 1
	}
	s.exit(exitStatus{status: syscall.WaitStatus(status << 8)})
}
