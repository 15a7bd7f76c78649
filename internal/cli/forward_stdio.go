package cli

import (
	"context"
	"errors"
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
	defer func() { go conn.Close() }() //nolint:errcheck // all was said, or it was given up and may wait for the network
	defer s.tellOutages(ctx, l)()
	person := term.IsTerminal(int(s.in.Fd()))
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
			if err != nil || person {
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
	_, refused := io.Copy(conn, source)
	if source.err != nil {
		return fmt.Errorf("reading standard input: %w", source.err)
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && refused == nil {
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
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}
