package transport

// InstanceGone says whether all that ran in the instance has ended with it.
func (e *FinalError) InstanceGone() bool {
	switch e.Reason {
	case OtherInstance, Version, Gone, Stopped:
		return true
	}
	return false
}

// Superseded says whether another client has the stream now.
func (e *FinalError) Superseded() bool { return e.Reason == StaleEpoch }
