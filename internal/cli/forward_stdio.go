package cli

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/term"
)

// stdio is -W: standard input and output become a connection of the twin. It
// ends when both directions have, or the other side has closed the connection.
func (s *connection) stdio(ctx context.Context, l *link) error {
	s.ui.Settle("")
	to := s.options.forward.stdioTo
	conn, err := l.Dial(ctx, to.network, to.address)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("refused: connecting to %s in the twin: %s", to.address, reasonOf(err))
	}
	defer conn.Close() //nolint:errcheck // all was said, or it was given up
	defer s.tellOutages(ctx, l)()
	down, up := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := io.Copy(output{s.out}, conn)
		down <- err
	}()
	go func() { up <- upload(conn, s.in) }()
	var closed <-chan struct{}
	for up != nil || down != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-closed:
			return nil
		case err := <-up:
			if err != nil {
				return err
			}
			up = nil
		case err := <-down:
			// A person would have to end the input as well, and not know why.
			if err != nil || term.IsTerminal(int(s.in.Fd())) {
				return err
			}
			down = nil
			if c, ok := conn.(interface{ Closed() <-chan struct{} }); ok {
				closed = c.Closed()
			}
		}
	}
	return nil
}

// upload sends standard input, and its end. That the other side takes no more is
// no error: what it says comes on the way back.
func upload(conn io.Writer, in io.Reader) error {
	source := &noting{Reader: in}
	if _, err := io.Copy(conn, source); source.err != nil {
		return fmt.Errorf("reading standard input: %w", source.err)
	} else if err != nil {
		return nil
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // as above
	}
	return nil
}

// noting remembers an error of reading.
type noting struct {
	io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	k, err := n.Reader.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // as io.Copy compares it
		n.err = err
	}
	return k, err
}
