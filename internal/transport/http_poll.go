package transport

import (
	"fmt"
	"io"
	"net/http"
)

// readPolled takes frames out of the answers to polls, in their order.
func (w *httpWire) readPolled() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		frame, rest, err := splitRecord(w.rest)
		w.rest = rest
		switch {
		case err != nil || frame != nil:
			return frame, err
		case len(rest) > 0:
			return nil, io.ErrUnexpectedEOF
		}
		answer, ok := w.answers[w.turn]
		switch {
		case ok:
			delete(w.answers, w.turn)
			w.rest = answer.records
			w.turn++
			w.arrived.Broadcast()
			w.heard()
			if answer.last && len(answer.records) == 0 {
				return nil, io.EOF
			}
		case w.err != nil:
			return nil, w.err
		default:
			w.arrived.Wait()
		}
	}
}

// pollLoop polls for as long as the reader keeps up.
func (w *httpWire) pollLoop() {
	for {
		w.mu.Lock()
		for w.err == nil && len(w.answers) >= 2*maxPolls {
			w.arrived.Wait()
		}
		sequence, err := w.poll, w.err
		w.poll++
		w.mu.Unlock()
		if err != nil {
			return
		}
		answer, err := w.pollOnce(sequence)
		if err != nil {
			w.fail(fmt.Errorf("receiving: %w", err))
			return
		}
		w.mu.Lock()
		w.answers[sequence] = answer
		w.arrived.Broadcast()
		w.mu.Unlock()
		if answer.last && len(answer.records) == 0 {
			return
		}
	}
}

func (w *httpWire) pollOnce(sequence uint64) (httpAnswer, error) {
	resp, err := w.do(w.ctx, http.MethodGet, pollPath, nil, sequence)
	if err != nil {
		return httpAnswer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read from
	records, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return httpAnswer{}, err
	case len(records) > maxBody:
		return httpAnswer{}, errLongRecord
	}
	return httpAnswer{records: records, last: resp.Header.Get(endHeader) != ""}, nil
}
