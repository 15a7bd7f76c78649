package bench

import "sync/atomic"

// A meter counts what has arrived at the end of transfers: those that it reads
// itself, or those whose sinks count in files.
type meter struct {
	files []string
	bytes atomic.Int64
}

func (m *meter) read(ch *channel) {
	if _, err := ch.in.WriteString("G"); err != nil {
		return
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := ch.out.Read(buf)
		m.bytes.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func (m *meter) total(l *lab) int64 {
	l.b.Helper()
	total := m.bytes.Load()
	for _, file := range m.files {
		n, err := counted(file)
		if err != nil {
			l.b.Fatal(err)
		}
		total += n
	}
	return total
}
