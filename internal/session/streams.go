package session

import (
	"errors"
	"io"
	"sync"
	"time"
)

// transfer is io.Copy that tells reading and writing errors apart.
func transfer(w io.Writer, from io.Reader, buf []byte) (readErr, writeErr error) {
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// gate passes writes on until it is shut.
type gate struct {
	mu   sync.Mutex
	w    io.Writer
	shut bool
}

var errShut = errors.New("the session has ended")

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.shut:
		return 0, errShut
	case g.w == nil:
		return len(p), nil
	}
	return g.w.Write(p)
}

// close makes all later writes fail. It does not wait longer than patience
// for one that is under way: nobody may be reading.
func (g *gate) close(patience time.Duration) {
	closed := make(chan struct{})
	go func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = true
		close(closed)
	}()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-closed:
	case <-t.C:
	}
}
