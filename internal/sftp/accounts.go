//go:build linux || darwin

package sftp

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxAccounts is how much of a file of accounts is read: those of images have a
// few lines.
const maxAccounts = 1 << 20

// accounts knows the names of users and groups from the system's files, which
// images may lack and sessions may change. No other source is asked: the agent
// has no C library.
type accounts struct {
	mu     sync.Mutex
	users  accountFile
	groups accountFile
}

// An accountFile is what /etc/passwd or /etc/group said when last looked at.
type accountFile struct {
	modified time.Time
	names    map[uint32]string
	homes    map[string]string
}

// refresh reads the file if it has changed.
func (f *accountFile) refresh(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxAccounts {
		*f = accountFile{}
		return
	}
	if f.names != nil && info.ModTime().Equal(f.modified) {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		*f = accountFile{}
		return
	}
	f.modified = info.ModTime()
	f.names, f.homes = map[uint32]string{}, map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 3 || fields[0] == "" {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		if _, known := f.names[uint32(id)]; !known {
			f.names[uint32(id)] = fields[0]
		}
		if len(fields) > 5 {
			f.homes[fields[0]] = fields[5]
		}
	}
}

// look returns functions that name users and groups, as of now.
func (a *accounts) look() (user, group func(uint32) string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users.refresh("/etc/passwd")
	a.groups.refresh("/etc/group")
	users, groups := a.users.names, a.groups.names // replaced, never changed
	return func(id uint32) string { return users[id] }, func(id uint32) string { return groups[id] }
}

func (a *accounts) home(user string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users.refresh("/etc/passwd")
	home, ok := a.users.homes[user]
	return home, ok && home != ""
}

// names answers users-groups-by-id@openssh.com: strings of strings for strings
// of numbers.
func (s *server) names(uids, gids []byte) job {
	if len(uids)%4 != 0 || len(gids)%4 != 0 {
		return job{run: refuse(status{fxBadMessage, "Not a list of numbers"})}
	}
	return job{order: looks, weight: maxPacket, run: func(m *message) error {
		user, group := s.accounts.look()
		m.is(fxpExtendedReply)
		for _, list := range []struct {
			ids  []byte
			name func(uint32) string
		}{{uids, user}, {gids, group}} {
			at := len(m.buf)
			m.uint32(0)
			for ids := list.ids; len(ids) > 0; ids = ids[4:] {
				m.string(list.name(binary.BigEndian.Uint32(ids)))
				if len(m.buf) > maxPacket {
					return errTooLarge
				}
			}
			binary.BigEndian.PutUint32(m.buf[at:], uint32(len(m.buf)-at-4))
		}
		return nil
	}}
}
