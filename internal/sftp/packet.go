//go:build linux || darwin

package sftp

import (
	"encoding/binary"
	"strings"
)

// Packet types, draft-ietf-secsh-filexfer-02 section 3.
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpOpen          = 3
	fxpClose         = 4
	fxpRead          = 5
	fxpWrite         = 6
	fxpLstat         = 7
	fxpFstat         = 8
	fxpSetstat       = 9
	fxpFsetstat      = 10
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpRemove        = 13
	fxpMkdir         = 14
	fxpRmdir         = 15
	fxpRealpath      = 16
	fxpStat          = 17
	fxpRename        = 18
	fxpReadlink      = 19
	fxpSymlink       = 20
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

// Which attributes a packet has, section 5.
const (
	attrSize        = 1
	attrOwner       = 2
	attrPermissions = 4
	attrTimes       = 8
	attrExtended    = 1 << 31
)

// attributes are a file's attributes, as far as flags name them.
type attributes struct {
	flags        uint32
	size         uint64
	uid, gid     uint32
	permissions  uint32
	atime, mtime uint32 // unix seconds
}

// mode is the permissions for a new file.
func (a attributes) mode(otherwise uint32) uint32 {
	if a.flags&attrPermissions != 0 {
		return a.permissions & 0o7777
	}
	return otherwise
}

// A parser takes a packet apart. After the first error it returns zeros.
type parser struct {
	rest []byte
	err  error
}

func (p *parser) bytes(n uint32) []byte {
	if p.err == nil && uint64(n) > uint64(len(p.rest)) {
		p.err = status{fxBadMessage, "The packet is too short"}
	}
	if p.err != nil {
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *parser) uint32() uint32 {
	b := p.bytes(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (p *parser) uint64() uint64 {
	b := p.bytes(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// string is not copied: it is valid as long as the packet.
func (p *parser) string() []byte { return p.bytes(p.uint32()) }

// path is a name as the system calls take it.
func (p *parser) path() string {
	name := string(p.string())
	if p.err == nil && strings.IndexByte(name, 0) >= 0 {
		p.err = status{fxBadMessage, "A name contains a NUL byte"}
	}
	return name
}

func (p *parser) attributes() (a attributes) {
	a.flags = p.uint32()
	if a.flags&attrSize != 0 {
		a.size = p.uint64()
	}
	if a.flags&attrOwner != 0 {
		a.uid, a.gid = p.uint32(), p.uint32()
	}
	if a.flags&attrPermissions != 0 {
		a.permissions = p.uint32()
	}
	if a.flags&attrTimes != 0 {
		a.atime, a.mtime = p.uint32(), p.uint32()
	}
	if a.flags&attrExtended != 0 {
		for n := p.uint32(); n > 0 && p.err == nil; n-- {
			p.string() // what it is called
			p.string() // nobody has defined any
		}
	}
	return a
}

// A message is a reply being written, its length included.
type message struct{ buf []byte }

// begin starts a reply, discarding what there is.
func (m *message) begin(kind byte, id uint32) {
	m.buf = append(m.buf[:0], 0, 0, 0, 0, kind)
	m.uint32(id)
}

// is makes it a reply of another type than a status.
func (m *message) is(kind byte) { m.buf[4] = kind }

func (m *message) uint32(v uint32) { m.buf = binary.BigEndian.AppendUint32(m.buf, v) }
func (m *message) uint64(v uint64) { m.buf = binary.BigEndian.AppendUint64(m.buf, v) }

func (m *message) string(v string) {
	m.uint32(uint32(len(v)))
	m.buf = append(m.buf, v...)
}

// status writes how a request ended: nil is success.
func (m *message) status(err error) {
	st := toStatus(err)
	m.uint32(st.code)
	m.string(st.text)
	m.string("en")
}

// name is the reply that consists of one name.
func (m *message) name(name string) {
	m.is(fxpName)
	m.uint32(1)
	m.string(name)
	m.string(name)
	m.uint32(0)
}

func (m *message) attributes(a attributes) {
	m.uint32(a.flags)
	if a.flags&attrSize != 0 {
		m.uint64(a.size)
	}
	if a.flags&attrOwner != 0 {
		m.uint32(a.uid)
		m.uint32(a.gid)
	}
	if a.flags&attrPermissions != 0 {
		m.uint32(a.permissions)
	}
	if a.flags&attrTimes != 0 {
		m.uint32(a.atime)
		m.uint32(a.mtime)
	}
}

// finish fills in the length.
func (m *message) finish() []byte {
	binary.BigEndian.PutUint32(m.buf, uint32(len(m.buf)-4))
	return m.buf
}
