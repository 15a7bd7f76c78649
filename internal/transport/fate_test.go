package transport

import "testing"

func TestFates(t *testing.T) {
	for r := UnknownStream; r <= Stopped; r++ {
		e := &FinalError{Reason: r}
		gone := r == OtherInstance || r == Version || r == Gone || r == Stopped
		if e.InstanceGone() != gone || e.Superseded() != (r == StaleEpoch) {
			t.Errorf("%v: instance gone %v, superseded %v", e, e.InstanceGone(), e.Superseded())
		}
	}
}
