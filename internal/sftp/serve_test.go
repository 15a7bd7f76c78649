//go:build linux || darwin

package sftp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	pkgsftp "github.com/pkg/sftp"
)

// serverVariable makes the test binary an SFTP server on its standard streams,
// in the directory it names: what `sftp -D` and `scp -D` start.
const serverVariable = "TEST_SFTP_DIR"

// libraryVariable makes the test binary the server of the library that is this
// package's client in tests.
const libraryVariable = "TEST_SFTP_LIBRARY"

func serveWithLibrary(stream io.ReadWriteCloser) error {
	s, err := pkgsftp.NewServer(stream, pkgsftp.WithMaxTxPacket(maxData))
	if err != nil {
		return err
	}
	return s.Serve()
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverVariable); dir != "" {
		stream := struct {
			io.Reader
			io.WriteCloser
		}{os.Stdin, os.Stdout}
		var err error
		if os.Getenv(libraryVariable) != "" {
			err = serveWithLibrary(stream)
		} else {
			err = Serve(stream, Options{Dir: dir})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // this is a main
		}
		return
	}
	m.Run()
}

// A peer is a client that says exactly what a test wants.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	id   uint32
	end  chan error // what Serve returned
}

// An answer is a reply, its number and type taken off.
type answer struct {
	kind byte
	id   uint32
	parser
}

// newPeer starts a server and greets it.
func newPeer(t testing.TB, dir string) *peer {
	t.Helper()
	near, far := socketPair(t)
	p := &peer{t: t, conn: near, in: bufio.NewReader(near), end: make(chan error, 1)}
	go func() {
		err := Serve(far, Options{Dir: dir, Home: dir, Logger: slog.New(slog.DiscardHandler)})
		far.Close()
		p.end <- err
	}()
	t.Cleanup(func() { near.Close() })
	p.send(fxpInit, uint32(3))
	if a := p.receive(); a.kind != fxpVersion || a.id != 3 {
		t.Fatalf("the version: %+v", a)
	}
	return p
}

func socketPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// pack makes a packet of a type and fields: numbers, strings, attributes.
func pack(kind byte, fields ...any) []byte {
	m := &message{buf: []byte{0, 0, 0, 0, kind}}
	for _, f := range fields {
		switch f := f.(type) {
		case byte:
			m.buf = append(m.buf, f)
		case uint32:
			m.uint32(f)
		case uint64:
			m.uint64(f)
		case string:
			m.string(f)
		case []byte:
			m.string(string(f))
		case attributes:
			m.attributes(f)
		default:
			panic(fmt.Sprintf("%T", f))
		}
	}
	return m.finish()
}

func (p *peer) send(kind byte, fields ...any) {
	p.t.Helper()
	if _, err := p.conn.Write(pack(kind, fields...)); err != nil {
		p.t.Fatal(err)
	}
}

// ask sends a request under the next number, and returns the number.
func (p *peer) ask(kind byte, fields ...any) uint32 {
	p.t.Helper()
	p.id++
	p.send(kind, append([]any{p.id}, fields...)...)
	return p.id
}

func (p *peer) receive() answer {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	var head [9]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		p.t.Fatal(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 5 || n > maxPacket {
		p.t.Fatalf("a reply of %d bytes", n)
	}
	body := make([]byte, n-5)
	if _, err := io.ReadFull(p.in, body); err != nil {
		p.t.Fatal(err)
	}
	return answer{head[4], binary.BigEndian.Uint32(head[5:]), parser{rest: body}}
}

// do asks and waits for the answer.
func (p *peer) do(kind byte, fields ...any) answer {
	p.t.Helper()
	id := p.ask(kind, fields...)
	a := p.receive()
	if a.id != id {
		p.t.Fatalf("an answer to %d, want %d", a.id, id)
	}
	return a
}

func (a answer) status() status {
	if a.kind != fxpStatus {
		return status{fxOK, fmt.Sprintf("reply of type %d", a.kind)}
	}
	st := status{a.uint32(), string(a.string())}
	a.string()
	if a.err != nil {
		return status{99, a.err.Error()}
	}
	return st
}

// ok fails the test unless the answer is a success.
func (p *peer) ok(a answer) answer {
	p.t.Helper()
	if st := a.status(); st.code != fxOK {
		p.t.Fatalf("status %d: %s", st.code, st.text)
	}
	return a
}

// open opens a file and returns its handle.
func (p *peer) open(name string, flags uint32) string {
	p.t.Helper()
	return p.handle(p.do(fxpOpen, name, flags, attributes{}))
}

func (p *peer) handle(a answer) string {
	p.t.Helper()
	if p.ok(a); a.kind != fxpHandle {
		p.t.Fatalf("a reply of type %d instead of a handle", a.kind)
	}
	return string(a.string())
}

// finish hangs up and returns what Serve returns.
func (p *peer) finish() error {
	p.t.Helper()
	p.conn.Close()
	select {
	case err := <-p.end:
		return err
	case <-time.After(time.Minute):
		return errors.New("the server does not end")
	}
}
