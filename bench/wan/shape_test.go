package wan

import (
	"testing"
	"time"
)

func TestRateAndQueue(t *testing.T) {
	d := &direction{shape: Shape{Delay: 20 * time.Millisecond, Rate: 12_000_000, Queue: 10 * time.Millisecond}}
	now := time.Now()
	arrived := 0
	for i := range 20 { // 1,500 bytes are one millisecond
		due, ok := d.admit(now, 1500)
		if !ok {
			continue
		}
		arrived++
		if want := now.Add(time.Duration(i+1)*time.Millisecond + 20*time.Millisecond); !due.Equal(want) {
			t.Errorf("packet %d arrives at %s, want %s", i, due.Sub(now), want.Sub(now))
		}
	}
	if arrived != 11 || d.count().Overflowed != 9 { // ten in the queue and the one being sent
		t.Errorf("%d packets arrive, %d overflowed; want 11 and 9", arrived, d.count().Overflowed)
	}
	if _, ok := d.admit(now.Add(5*time.Millisecond), 1500); !ok {
		t.Error("no room in a queue that has half emptied")
	}
}

func TestOrderIsKept(t *testing.T) {
	d := &direction{shape: Shape{Delay: time.Second}}
	now := time.Now()
	slow, _ := d.admit(now, 100)
	d.set(Shape{})
	if quick, _ := d.admit(now, 100); quick.Before(slow) {
		t.Errorf("a packet overtook another by %s", slow.Sub(quick))
	}
}

func TestLossIsCounted(t *testing.T) {
	d := &direction{shape: Shape{Loss: 0.1}}
	lost := int64(0)
	for range 10000 {
		if _, ok := d.admit(time.Now(), 100); !ok {
			lost++
		}
	}
	if lost != d.count().Lost || lost < 700 || lost > 1300 {
		t.Errorf("%d of 10,000 packets lost, %d counted; want about 1,000", lost, d.count().Lost)
	}
}

// What is under way when the hole opens is gone too.
func TestHoleSwallows(t *testing.T) {
	d := &direction{}
	if _, ok := d.admit(time.Now(), 100); !ok {
		t.Fatal("a link without faults lost a packet")
	}
	d.set(Shape{Hole: true})
	if d.deliver(100) {
		t.Error("a packet came out of the hole")
	}
	if _, ok := d.admit(time.Now(), 100); ok {
		t.Error("a packet got past the hole")
	}
	if s := d.count(); s.Swallowed != 2 || s.Packets != 0 {
		t.Errorf("counted %+v, want 2 swallowed", s)
	}
}
