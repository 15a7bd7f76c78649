package sftp

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	pkgsftp "github.com/pkg/sftp"
)

// BenchmarkServers has one client ask this package's server, OpenSSH's and the
// library's, each a process on pipes, for long and for many files.
func BenchmarkServers(b *testing.B) {
	for _, server := range []struct {
		name, program string
		env           string
	}{
		{"this", os.Args[0], ""},
		{"OpenSSH", "/usr/lib/openssh/sftp-server", ""},
		{"library", os.Args[0], libraryVariable + "=1"},
	} {
		dir, err := os.MkdirTemp("/dev/shm", "sftp-bench") //nolint:usetesting // b.TempDir may be on a disk
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		c := startServer(b, dir, server.program, serverVariable+"="+dir, server.env)
		text := bytes.Repeat([]byte("0123456789abcdef"), 4<<20)
		b.Run("write/"+server.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f, err := c.Create(dir + "/big")
				if err == nil {
					_, err = f.ReadFromWithConcurrency(bytes.NewReader(text), 64)
				}
				if err != nil || f.Close() != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("read/"+server.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f, err := c.Open(dir + "/big")
				if err == nil {
					var n int64
					if n, err = f.WriteTo(io.Discard); err == nil && n != int64(len(text)) {
						err = io.ErrUnexpectedEOF
					}
				}
				if err != nil || f.Close() != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("file/"+server.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				f, err := c.Create(fmt.Sprintf("%s/%d", dir, i%1000))
				if err == nil {
					_, err = f.Write(text[:1000])
				}
				if err != nil || f.Close() != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("list/"+server.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.ReadDir(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func startServer(b *testing.B, dir, program string, env ...string) *pkgsftp.Client {
	b.Helper()
	cmd := exec.Command(program)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr
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
	c, err := pkgsftp.NewClientPipe(out, in, pkgsftp.UseConcurrentWrites(true), pkgsftp.MaxPacketUnchecked(maxData))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		c.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	return c
}
