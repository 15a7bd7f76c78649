package tty

import (
	"io"
	"os"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/sys/windows"
)

// keyEvent is KEY_EVENT of INPUT_RECORD.EventType.
const keyEvent = 1

// vkMenu is VK_MENU, the Alt key: a character composed with Alt and the
// number pad arrives when it is released.
const vkMenu = 0x12

// inputRecord is INPUT_RECORD with the KEY_EVENT_RECORD variant of its union,
// which is the largest one.
type inputRecord struct {
	eventType uint16
	_         uint16
	keyDown   int32
	repeat    uint16
	keyCode   uint16
	scanCode  uint16
	char      uint16
	control   uint32
}

// input reads a console until it is closed. It reads input records, not
// characters: Go's own console reads end at Ctrl-Z, and a ReadConsole that
// waits for a character cannot be interrupted.
type input struct {
	console windows.Handle
	wake    windows.Handle // event set by Close
	read    *windows.LazyProc
	close   sync.Once

	mu    sync.Mutex // one Read at a time
	ready []byte     // UTF-8 not yet delivered
	high  rune       // first half of a surrogate pair
}

func newInput(f *os.File) (*input, error) {
	wake, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, err
	}
	return &input{
		console: windows.Handle(f.Fd()), wake: wake,
		read: windows.NewLazySystemDLL("kernel32.dll").NewProc("ReadConsoleInputW"),
	}, nil
}

func (i *input) Read(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for len(i.ready) == 0 {
		// The event with the lowest index wins, so a closed input reads no more.
		e, err := windows.WaitForMultipleObjects([]windows.Handle{i.wake, i.console}, false, windows.INFINITE)
		if err != nil {
			return 0, err
		}
		if e == windows.WAIT_OBJECT_0 {
			return 0, io.EOF
		}
		if err := i.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, i.ready)
	i.ready = i.ready[n:]
	return n, nil
}

// fill reads the records there are; at least one, since the console was
// signalled.
func (i *input) fill() error {
	var records [128]inputRecord
	var n uint32
	//nolint:gosec // the system call's own calling convention
	ok, _, err := i.read.Call(uintptr(i.console), uintptr(unsafe.Pointer(&records[0])),
		uintptr(len(records)), uintptr(unsafe.Pointer(&n)))
	if ok == 0 {
		return os.NewSyscallError("ReadConsoleInput", err)
	}
	for _, r := range records[:n] {
		released := r.keyDown == 0
		if r.eventType != keyEvent || r.char == 0 && r.keyCode != 0 || released && r.keyCode != vkMenu {
			if !ctrlSpace(r) {
				continue
			}
		}
		for range max(1, r.repeat) {
			i.add(rune(r.char))
		}
	}
	return nil
}

// ctrlSpace recognises the one key that sends a zero byte.
func ctrlSpace(r inputRecord) bool {
	const leftCtrl, rightCtrl, vkSpace, vk2 = 0x8, 0x4, 0x20, 0x32
	return r.eventType == keyEvent && r.keyDown != 0 && r.char == 0 &&
		r.control&(leftCtrl|rightCtrl) != 0 && (r.keyCode == vkSpace || r.keyCode == vk2)
}

// add appends one UTF-16 unit as UTF-8.
func (i *input) add(unit rune) {
	switch {
	case i.high != 0:
		i.ready = utf8.AppendRune(i.ready, utf16.DecodeRune(i.high, unit))
		i.high = 0
	case utf16.IsSurrogate(unit):
		i.high = unit
	default:
		i.ready = utf8.AppendRune(i.ready, unit)
	}
}

// Close ends the pending Read and all later ones.
func (i *input) Close() (err error) {
	i.close.Do(func() { err = windows.SetEvent(i.wake) })
	return err
}
