package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

// Remote is the files of an SFTP server.
type Remote struct {
	name   string
	client *sftp.Client
	stream io.Closer
	ended  chan struct{} // closed when the server is gone
	why    error         // valid after ended

	mu       sync.Mutex
	fileMode fs.FileMode // what the server gives a new file; 0 before it is known
	dirMode  fs.FileMode // the same for a directory
}

// NewRemote starts an SFTP session on a stream, which belongs to it from then
// on. name is what people call the server. The server must take packets of
// 256 KiB, as OpenSSH's and ours do.
func NewRemote(stream io.ReadWriteCloser, name string) (*Remote, error) {
	pipe := newPackets(stream)
	client, err := sftp.NewClientPipe(pipe, pipe, sftp.MaxPacketUnchecked(chunkSize))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting SFTP with %s: %w", name, err), stream.Close())
	}
	r := &Remote{name: name, client: client, stream: stream, ended: make(chan struct{})}
	go func() {
		r.why = client.Wait()
		close(r.ended)
	}()
	return r, nil
}

// Close ends the session. What is under way fails.
func (r *Remote) Close() error { return r.stream.Close() }

func (r *Remote) lost() error {
	select {
	case <-r.ended:
	default:
		return nil
	}
	if r.why == nil || errors.Is(r.why, io.EOF) {
		return &LostError{Name: r.name, Err: errors.New("the server has ended the session")}
	}
	why := r.why
	for inner := why; inner != nil && strings.HasPrefix(why.Error(), "error reading packet"); { // where in it is of no interest
		if inner = errors.Unwrap(why); inner != nil {
			why = inner
		}
	}
	return &LostError{Name: r.name, Err: why}
}

// LostError says that a server is gone, and the rest of the copy with it.
type LostError struct {
	Name string
	Err  error
}

func (e *LostError) Error() string { return fmt.Sprintf("copying with %s: %v", e.Name, e.Err) }

func (e *LostError) Unwrap() error { return e.Err }

func (r *Remote) show(p string) string         { return r.name + ":" + Quote(p) }
func (r *Remote) join(dir, name string) string { return path.Join(dir, name) }
func (r *Remote) clean(p string) string        { return path.Clean(p) }
func (r *Remote) validName(name string) bool   { return validName(name) }

func (r *Remote) split(p string) (dir, name string) {
	p = path.Clean(p)
	return path.Dir(p), path.Base(p)
}

func (r *Remote) stat(p string) (info, error)  { return r.infoOf(r.client.Stat(p)) }
func (r *Remote) lstat(p string) (info, error) { return r.infoOf(r.client.Lstat(p)) }

func (r *Remote) infoOf(fi os.FileInfo, err error) (info, error) {
	if err != nil {
		return info{}, r.tell(err)
	}
	i := info{name: fi.Name(), mode: fi.Mode(), size: fi.Size(), modified: fi.ModTime(), access: fi.ModTime()}
	if st, ok := fi.Sys().(*sftp.FileStat); ok {
		i.access = st.AccessTime()
	}
	if i.size < 0 {
		return info{}, fmt.Errorf("the server says it has %d bytes", uint64(i.size))
	}
	return i, nil
}

func (r *Remote) realPath(p string) (string, error) {
	p, err := r.client.RealPath(p)
	return p, r.tell(err)
}

func (r *Remote) readDir(ctx context.Context, p string) ([]info, error) {
	entries, err := r.client.ReadDirContext(ctx, p)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, r.tell(err)
	}
	infos := make([]info, 0, len(entries))
	for _, e := range entries {
		i, err := r.infoOf(e, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Quote(e.Name()), err)
		}
		infos = append(infos, i)
	}
	return infos, nil
}

func (r *Remote) readLink(p string) (string, error) {
	target, err := r.client.ReadLink(p)
	return target, r.tell(err)
}

func (r *Remote) open(p string) (file, error) { return r.openFile(p, os.O_RDONLY) }

func (r *Remote) openFile(p string, flags int) (file, error) {
	f, err := r.client.OpenFile(p, flags)
	if err != nil {
		return nil, r.tell(err)
	}
	return &remoteFile{f, r}, nil
}

// create cannot name permissions: the library's open has none. They are set
// before there is content, where they are not what the server gives anyway.
func (r *Remote) create(p string, perm fs.FileMode) (f file, made, want fs.FileMode, err error) {
	if f, err = r.openFile(p, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, 0, 0, err
	}
	made, err = r.usual(&r.fileMode, f.info)
	if err == nil {
		want = perm & (made | (made&0o444)>>2) // who may read may run it
		// A file system without modes refuses, and there is nothing to be done.
		if early := want | 0o600; early != made && f.chmod(early) == nil {
			made = early
		}
	}
	if err != nil {
		return nil, 0, 0, errors.Join(err, f.Close(), r.remove(p))
	}
	return f, made, want, nil
}

// usual is the mode of what the server makes, asked for once.
func (r *Remote) usual(known *fs.FileMode, look func() (info, error)) (fs.FileMode, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *known == 0 {
		i, err := look()
		if err != nil {
			return 0, err
		}
		*known = i.perm()
	}
	return *known, nil
}

// reopen never follows a link: SFTP has no flag for it, so it looks before.
func (r *Remote) reopen(p string) (file, error) {
	i, err := r.lstat(p)
	if err != nil {
		return nil, err
	}
	if !i.mode.IsRegular() {
		return nil, errSpecial
	}
	return r.openFile(p, os.O_RDWR)
}

func (r *Remote) rewrite(p string) (file, error) { return r.openFile(p, os.O_WRONLY|os.O_TRUNC) }

func (r *Remote) mkdir(p string, perm fs.FileMode) (made, want fs.FileMode, err error) {
	if err := r.client.Mkdir(p); err != nil {
		return 0, 0, r.tell(err)
	}
	made, err = r.usual(&r.dirMode, func() (info, error) { return r.lstat(p) })
	if err != nil {
		return 0, 0, err
	}
	want = perm.Perm() & made
	if early := want | 0o700; early != made && r.chmod(p, early) == nil {
		made = early
	}
	return made, want, nil
}

func (r *Remote) symlink(target, p string) error { return r.tell(r.client.Symlink(target, p)) }

func (r *Remote) remove(p string) error                  { return r.tell(plain(r.client.Remove(p))) }
func (r *Remote) chmod(p string, mode fs.FileMode) error { return r.tell(r.client.Chmod(p, mode)) }

// rename replaces what has the new name, as rename(2) does. Servers without
// OpenSSH's extension refuse that, and get the name cleared first.
func (r *Remote) rename(from, to string) error {
	if _, ok := r.client.HasExtension("posix-rename@openssh.com"); ok {
		return r.tell(r.client.PosixRename(from, to))
	}
	err := r.client.Rename(from, to)
	if err == nil {
		return nil
	}
	if removeErr := r.remove(to); removeErr != nil {
		return r.tell(err)
	}
	return r.tell(r.client.Rename(from, to))
}

func (r *Remote) chtimes(p string, access, modified time.Time) error {
	return r.tell(r.client.Chtimes(p, access, modified))
}

// tell makes what a server says readable: SFTP has few codes, and puts the
// rest into a text. When the server is gone, lost knows it from then on.
func (r *Remote) tell(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) || strings.HasPrefix(err.Error(), "failed to send packet") {
		_ = r.stream.Close() // of a broken stream nothing more can come
		<-r.ended
		return r.lost()
	}
	return worded(err)
}

// worded puts an error into the server's words.
func worded(err error) error {
	var status *sftp.StatusError
	if !errors.As(err, &status) {
		return err
	}
	text := strings.TrimPrefix(status.Error(), "sftp: ")
	if i := strings.LastIndex(text, " (SSH_FX_"); i > 0 {
		text = text[:i]
	}
	text = strings.Trim(text, `"`)
	if text == "" {
		text = "failure"
	}
	if strings.Contains(strings.ToLower(text), ErrNoSpace.Error()) {
		return ErrNoSpace
	}
	return &serverError{text: text, err: err}
}

// serverError is an error in a server's words.
type serverError struct {
	text string
	err  error
}

func (e *serverError) Error() string { return Quote(e.text) }
func (e *serverError) Unwrap() error { return e.err }

// remoteFile is an open file of a server.
type remoteFile struct {
	file   *sftp.File
	server *Remote
}

func (f *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	return n, f.server.tell(err)
}

func (f *remoteFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	return n, f.server.tell(err)
}

func (f *remoteFile) Close() error                 { return f.server.tell(f.file.Close()) }
func (f *remoteFile) info() (info, error)          { return f.server.infoOf(f.file.Stat()) }
func (f *remoteFile) truncate(size int64) error    { return f.server.tell(f.file.Truncate(size)) }
func (f *remoteFile) chmod(mode fs.FileMode) error { return f.server.tell(f.file.Chmod(mode)) }
