//go:build linux

package sftp

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	pkgsftp "github.com/pkg/sftp"
)

// servers are this package's server, the one of OpenSSH, and the library we
// would use otherwise, each a process on pipes.
func servers(b *testing.B) map[string][]string {
	return map[string][]string{
		"ours":    {os.Args[0]},
		"openssh": {"/usr/lib/openssh/sftp-server"},
	}
}

type pipes struct {
	io.WriteCloser
	io.Reader
}

func startServer(b *testing.B, argv []string, dir string) pipes {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), serverVariable+"="+dir), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	p := pipes{in, out}
	p.Write(pack(fxpInit, uint32(3)))
	readAnswer(b, p)
	return p
}

func readAnswer(b *testing.B, r io.Reader) []byte {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		b.Fatal(err)
	}
	return body
}

var _ = pkgsftp.NewServer
var _ = filepath.Join
