package transport

import "time"

// writeLoop writes whatever is due and Write did not send by itself.
func (l *link) writeLoop() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	for !l.over {
		if l.writing || l.muted || !l.due() {
			l.work.Wait()
			continue
		}
		l.write()
	}
	for l.writing {
		l.work.Wait()
	}
	if l.farewell == nil {
		return
	}
	l.s.mu.Unlock()
	l.w.write(l.farewell) //nolint:errcheck // if it cannot be said,
	l.w.close()           //nolint:errcheck // it is over all the same
	l.s.mu.Lock()
}

// due says whether there is a frame to write.
func (l *link) due() bool {
	return l.ack || l.ping || l.pong || l.away != nil || l.dataDue() > 0 || l.finDue() || l.probeDue()
}

// dataDue is how many bytes of the stream may be sent in one frame now.
func (l *link) dataDue() int {
	s := l.s
	if s.sent >= s.out.end {
		return 0
	}
	flying := s.sent - s.out.base
	limit := min(l.flow.limit(), s.window)
	if flying >= limit {
		return 0
	}
	n := min(int(s.out.end-s.sent), l.flow.payload(), int(s.window-flying))
	if uint64(n) > limit-flying && flying > 0 && limit < s.window {
		return 0 // no small frames at the limit: the rest of it will open
	}
	return n
}

// finDue says whether all is sent but the end.
func (l *link) finDue() bool {
	s := l.s
	return s.fin && !s.finned && s.sent >= s.out.end
}

// probeDue says whether so little is in flight that the round trip can be measured.
func (l *link) probeDue() bool {
	return l.flow.probing && !l.flow.asked && l.s.sent-min(l.s.sent, l.s.out.base) <= probeLimit
}

// write writes what is due: control frames first, so that bulk data delays them
// by no more than a frame, then one DATA frame. Many writes of the stream leave
// as one frame: SSH writes in small pieces. The mutex is held, and not while
// the network has the frames.
func (l *link) write() {
	s := l.s
	var data *[maxFrame]byte
	out := l.control(l.out[:0], l.scratch[:0])
	if n := l.dataDue(); n > 0 {
		data = frames.Get().(*[maxFrame]byte)
		s.told = s.consumed()
		appendHeader(data[:0], frameData, s.told, s.sent)
		n = s.out.read(data[headerSize:headerSize+n], s.sent)
		if s.sent < s.reached {
			s.stats.Resent += min(uint64(n), s.reached-s.sent)
		}
		s.sent += uint64(n)
		s.reached = max(s.reached, s.sent)
		out = append(out, data[:headerSize+n])
		l.life.data = time.Now()
		l.awaits()
		s.makeRoom()
		if s.sent >= s.out.end && s.waiting == 0 && s.sent-s.out.base < l.flow.limit() {
			l.flow.idle()
		}
	}
	if l.finDue() {
		s.finned = true
		s.reached = max(s.reached, s.out.end+1)
		how := byte(0)
		if s.hangup {
			how = finHangup
		}
		out = append(out, append(appendHeader(make([]byte, 0, headerSize+1), frameFin, s.told, s.out.end), how))
		l.awaits()
	}
	if len(out) == 0 {
		return
	}
	s.stats.FramesOut += uint64(len(out))
	l.life.sent = time.Now()
	l.writing = true
	s.mu.Unlock()
	err := l.w.write(out...)
	if data != nil {
		frames.Put(data)
	}
	clear(l.out[:])
	s.mu.Lock()
	l.writing = false
	if l.over {
		l.work.Broadcast() // the writer waits to say farewell
	} else if err != nil {
		l.mute(err)
	}
}

// mute notes that nothing more can be written. A peer that is gone may have said
// why, so the reader has a moment for what is there to read. The mutex is held.
func (l *link) mute(err error) {
	if l.muted {
		return
	}
	l.muted = true
	time.AfterFunc(lastWords, func() {
		l.s.mu.Lock()
		defer l.s.mu.Unlock()
		l.fail(err)
	})
}

// control appends the control frames that are due.
func (l *link) control(out [][]byte, scratch []byte) [][]byte {
	s := l.s
	if l.probeDue() {
		l.flow.asked, l.ping = true, true
	}
	l.ping = l.ping || l.wantsRTT()
	add := func(kind byte, pos uint64) {
		s.told = s.consumed()
		at := len(scratch)
		scratch = appendHeader(scratch, kind, s.told, pos)
		out = append(out, scratch[at:])
	}
	if l.pong {
		l.pong = false
		add(framePong, l.stamp)
	}
	if l.ping {
		l.ping = false
		l.life.pinged, l.life.pinging = time.Now(), true
		l.awaits()
		add(framePing, uint64(l.life.pinged.Sub(l.began)))
	}
	if l.ack && (len(out) > 0 || l.dataDue() > 0) {
		l.ack = false // it goes with the others
	}
	if l.ack {
		l.ack = false
		add(frameAck, s.last())
	}
	if l.away != nil {
		out, l.away = append(out, l.away), nil
	}
	return out
}
