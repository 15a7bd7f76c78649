package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// version is what both ends of our streams say they are.
const version = "bench"

// play is one of the programs. Remote commands get words, the others one
// argument in JSON.
func play(role string, args []string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	switch role {
	case "source":
		return source(args)
	case "sink":
		return sink(args)
	case "netcat":
		return netcat(ctx, args[0])
	}
	var c config
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	switch role {
	case "agent":
		return serveAgent(ctx, c)
	case "limits":
		return serveLimits(ctx, c)
	case "client":
		return runClient(ctx, c)
	case "forwards":
		return runForwards(ctx, c)
	case "raw":
		return runRaw(ctx, c)
	case "bridge":
		return bridge(ctx, c)
	}
	return fmt.Errorf("unknown role %s", role)
}

// config is for servers and clients; each uses a part of it.
type config struct {
	Dir            string // keys and certificates
	RequestTimeout int64  // agent: in ms, when the platform is said to cut requests

	URL      string    // clients: the server
	Kind     string    // clients: what to speak
	Wire     string    // clients: of our streams
	Commands []command // client: on file descriptors 3 and 4, 5 and 6, and so on

	Up   bool  // raw: the client sends
	Size int64 // raw: bytes
}

// A command runs at the other end.
type command struct {
	Shell string
	TTY   bool
}

func (c config) signer(name string) (ssh.Signer, error) {
	text, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(text)
}

func (c config) publicKey(name string) (ssh.PublicKey, error) {
	text, err := os.ReadFile(filepath.Join(c.Dir, name+".pub"))
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text) //nolint:dogsled // its signature
	return key, err
}

// ready tells the benchmark that a server serves, and waits for its end.
func ready() {
	fmt.Fprintln(os.Stdout, "ready")
	io.Copy(io.Discard, os.Stdin)
}

// source is `source SIZE`: says R, waits for a byte, and writes so many bytes;
// without end if negative.
func source(args []string) error {
	size, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("R"); err != nil {
		return err
	}
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	return zeros(os.Stdout, size)
}

func zeros(w io.Writer, size int64) error {
	buf := make([]byte, 64<<10)
	for left := size; left != 0; {
		n := len(buf)
		if left > 0 {
			n = int(min(left, int64(n)))
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
		left = max(left, -1)
	}
	return nil
}

// sink is `sink SIZE FILE`: says R, reads so many bytes, or all if negative,
// and says D. How many it has read so far stands in the file.
func sink(args []string) error {
	size, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	count, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer count.Close()
	if _, err := os.Stdout.WriteString("R"); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	var total int64
	for size < 0 || total < size {
		n, err := os.Stdin.Read(buf)
		total += int64(n)
		if size < 0 {
			var text [8]byte
			binary.BigEndian.PutUint64(text[:], uint64(total))
			count.WriteAt(text[:], 0)
		}
		if err != nil {
			break
		}
	}
	if size >= 0 && total != size {
		return fmt.Errorf("got %d bytes, want %d", total, size)
	}
	_, err = os.Stdout.WriteString("D")
	return err
}

// counted is the number in a sink's file.
func counted(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(text) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(text)), nil
}
