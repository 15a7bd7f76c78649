//go:build linux || darwin

package sftp

import "strings"

// understand makes a job of a request. Errors are the parser's.
func (s *server) understand(kind byte, p *parser) job {
	switch kind {
	case fxpOpen:
		return s.openFile(p.path(), p.uint32(), p.attributes())
	case fxpClose:
		return s.closeHandle(s.handles.find(p.string()))
	case fxpRead:
		return s.readFile(s.handles.find(p.string()), p.uint64(), p.uint32())
	case fxpWrite:
		return s.writeFile(s.handles.find(p.string()), p.uint64(), p.string())
	case fxpFstat:
		return fstat(s.handles.find(p.string()))
	case fxpFsetstat:
		return fsetstat(s.handles.find(p.string()), p.attributes())
	case fxpOpendir:
		return s.openDir(p.path())
	case fxpReaddir:
		return s.readDir(s.handles.find(p.string()))
	case fxpExtended:
		return s.understandExtended(string(p.string()), p)
	}
	return s.understandPath(kind, p)
}

// understandPath has the requests that name files.
func (s *server) understandPath(kind byte, p *parser) job {
	switch kind {
	case fxpLstat:
		return s.stat(p.path(), false)
	case fxpStat:
		return s.stat(p.path(), true)
	case fxpSetstat:
		return s.setstat(p.path(), p.attributes(), true)
	case fxpRemove:
		return s.remove(p.path())
	case fxpMkdir:
		return s.mkdir(p.path(), p.attributes())
	case fxpRmdir:
		return s.rmdir(p.path())
	case fxpRealpath:
		return s.realpath(p.path())
	case fxpRename:
		return s.rename(p.path(), p.path(), false)
	case fxpReadlink:
		return s.readlink(p.path())
	case fxpSymlink:
		// Not what the draft says: OpenSSH has the target first, and all
		// clients have followed it.
		return s.symlink(p.path(), p.path())
	}
	return job{run: refuse(status{fxUnsupported, "Operation unsupported"})}
}

// understandExtended has the requests of OpenSSH's PROTOCOL, section 4.
func (s *server) understandExtended(name string, p *parser) job {
	switch name {
	case "posix-rename@openssh.com":
		return s.rename(p.path(), p.path(), true)
	case "statvfs@openssh.com":
		return s.statvfs(p.path())
	case "fstatvfs@openssh.com":
		return fstatvfs(s.handles.find(p.string()))
	case "hardlink@openssh.com":
		return s.link(p.path(), p.path())
	case "fsync@openssh.com":
		return fsync(s.handles.find(p.string()))
	case "lsetstat@openssh.com":
		return s.setstat(p.path(), p.attributes(), false)
	case "limits@openssh.com":
		return job{run: s.limits}
	case "expand-path@openssh.com":
		return s.expandPath(p.path())
	case "copy-data":
		c := copying{from: s.handles.find(p.string()), fromOffset: p.uint64(), length: p.uint64()}
		c.to, c.toOffset = s.handles.find(p.string()), p.uint64()
		return s.copyData(c)
	case "home-directory":
		return s.homeDirectory(p.path())
	case "users-groups-by-id@openssh.com":
		return s.names(p.string(), p.string())
	}
	return job{run: refuse(status{fxUnsupported, "Unknown extension"})}
}

// greet answers INIT with our version and the extensions.
func (s *server) greet(p *parser) {
	p.uint32() // a client that knows a later version speaks ours
	if p.err != nil {
		return
	}
	s.greeted = true
	m := &message{}
	m.begin(fxpVersion, 3) // in place of the request's number
	for _, e := range []string{
		"posix-rename@openssh.com 1", "statvfs@openssh.com 2", "fstatvfs@openssh.com 2", "hardlink@openssh.com 1",
		"fsync@openssh.com 1", "lsetstat@openssh.com 1", "limits@openssh.com 1", "expand-path@openssh.com 1",
		"copy-data 1", "home-directory 1", "users-groups-by-id@openssh.com 1",
	} {
		name, version, _ := strings.Cut(e, " ")
		m.string(name)
		m.string(version)
	}
	s.out.add(m.finish(), func() {})
	s.out.flush(allReplies)
}

// limits tells what limits@openssh.com asks for.
func (s *server) limits(m *message) error {
	m.is(fxpExtendedReply)
	m.uint64(maxPacket)
	m.uint64(maxData)
	m.uint64(maxData)
	m.uint64(uint64(s.handles.limit))
	return nil
}
