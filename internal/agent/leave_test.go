//go:build linux

package agent

import "testing"

// Between the end of a connection and the moment in which its session knows of
// it nobody may take the twin for empty.
func TestLeaveWhileASessionIsBeingLost(t *testing.T) {
	a := startKnown(t, Settings{})
	lost, _ := a.mustDial(t, "", nil)
	s := sit(t, lost, 80, 24)
	s.request("persist@cloudssh", struct{ Grace uint32 }{60}, true)
	s.exec("echo ready; read line")
	s.out.wait(t, "ready")
	var its *connection
	a.mu.Lock()
	for its = range a.conns { // there is one
	}
	a.mu.Unlock()
	a.unregister(its)
	last, _ := a.mustDial(t, "", nil)
	_, answer := ask(t, last, "leave@cloudssh", nil)
	if string(answer) != "\x00\x00\x00\x00\x00\x00\x00\x01" || a.isRefusing() {
		t.Errorf("%x stay; newcomers are refused: %v", answer, a.isRefusing())
	}
}
