package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tree makes a folder with what copies get wrong, in t's part of p.dir.
func (p *platform) tree(t *testing.T, names ...string) string {
	t.Helper()
	root := filepath.Join(p.folder(t), "tree")
	for _, d := range []string{root, filepath.Join(root, "empty"), filepath.Join(root, "a folder", "below")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names = append([]string{"plain", "with space", `quotes ' and "`, "-dash", "*?[glob]", "$HOME;`id`", "ünïcode", "a folder/below/deep"}, names...)
	for i, name := range names {
		file := filepath.Join(root, name)
		if err := os.WriteFile(file, noise(byte(i), 1000*i), 0o600); err != nil {
			t.Fatal(err)
		}
		mode := []fs.FileMode{0o600, 0o644, 0o755, 0o440}[i%4]
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2001, 2, 3, 4, 5, i, 0, time.UTC)
		if err := os.Chtimes(file, when, when); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// folder is a new folder for a test, the same in all processes.
func (p *platform) folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(p.dir, "f-") //nolint:usetesting // the user's processes see it here
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// look describes the files below a folder, with their times if they count.
func look(t *testing.T, root string, times bool) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + checksum(b)
			if times {
				text += " " + info.ModTime().UTC().Format(time.DateTime)
			}
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + target
		}
		found[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func expectSame(t *testing.T, what, want, got string, times bool) {
	t.Helper()
	w, g := look(t, want, times), look(t, got, times)
	for _, name := range slices.Sorted(maps.Keys(w)) {
		if g[name] != w[name] {
			t.Errorf("%s: %q is %q, want %q", what, name, g[name], w[name])
		}
		delete(g, name)
	}
	if len(g) > 0 {
		t.Errorf("%s: there also is %q", what, g)
	}
}

// testScp copies a tree there and back, by SFTP and by the old protocol, with
// images that have no scp.
func (p *platform) testScp(t *testing.T) {
	for i, host := range []string{hello, tools} {
		for _, flag := range []string{"-s", "-O"} {
			var odd []string
			if flag == "-s" { // the old protocol cannot name them
				odd = []string{"two\nlines", "\xff\xfe not UTF-8"}
			}
			from, back := p.tree(t, odd...), filepath.Join(p.folder(t), "back")
			there := fmt.Sprintf("/tmp/scp%d%s", i, flag)
			p.run(t, "scp", "-q", flag, "-r", "-p", from, host+":"+there).expect(t, 0).expectQuiet(t)
			p.run(t, "scp", "-q", flag, "-r", "-p", host+":"+there, back).expect(t, 0).expectQuiet(t)
			expectSame(t, host+" scp "+flag, from, back, true)
			p.run(t, "scp", "-q", flag, host+":/no/such/file", back).expect(t, 1).expectSaid(t, "o such file")
			p.run(t, "scp", "-q", flag, filepath.Join(from, "plain"), host+":/no/such/folder/x").expect(t, 1).expectSaid(t, "o such file")
		}
	}
	// From one twin to the other, through this machine.
	p.run(t, "scp", "-q", "-3", hello+":/tmp/scp0-s/ünïcode", tools+":/tmp/from-hello").expect(t, 0)
	p.run(t, "ssh", tools, "wc -c </tmp/from-hello").expectOut(t, "6000\n")
}

func (p *platform) testSftp(t *testing.T) {
	dir := p.folder(t)
	write(t, filepath.Join(dir, "up"), noise(2, 300_000))
	batch := strings.Join([]string{
		"mkdir /tmp/sftp", "cd /tmp/sftp", "put -p " + dir + "/up 'a name'", "ls -l", "rename 'a name' name", "ln name hard",
		"ln -s name soft", "chmod 640 name", "get soft " + dir + "/down", "copy name copied", "get copied " + dir + "/copied",
		"df", "put -f " + dir + "/up synced", "rm synced", "rm soft", "rm hard", "ls -1", "-rm missing", "rm name", "rm copied", "cd /", "rmdir /tmp/sftp", "pwd",
	}, "\n") + "\n"
	write(t, filepath.Join(dir, "batch"), []byte(batch))
	r := p.run(t, "sftp", "-q", "-b", filepath.Join(dir, "batch"), hello).expect(t, 0)
	for _, text := range []string{"a name", "copied", "Remote working directory: /", "Avail"} {
		r.expectSaid(t, text)
	}
	for _, name := range []string{"down", "copied"} {
		if got := read(t, filepath.Join(dir, name)); !bytes.Equal(got, noise(2, 300_000)) {
			t.Errorf("%s has other content, %d bytes", name, len(got))
		}
	}
	write(t, filepath.Join(dir, "bad"), []byte("get /no/such\n"))
	p.run(t, "sftp", "-b", filepath.Join(dir, "bad"), hello).expect(t, 1).expectSaid(t, "not found")
	// A cut transfer goes on where it was.
	write(t, filepath.Join(dir, "part"), noise(2, 300_000)[:100_000])
	resume := fmt.Sprintf("put %s/part /tmp/resumed\nreput %s/up /tmp/resumed\nreget /tmp/resumed %s/part\nrm /tmp/resumed\n", dir, dir, dir)
	p.runWith(t, strings.NewReader(resume), "sftp", "-q", "-b", "-", hello).expect(t, 0)
	if got := read(t, filepath.Join(dir, "part")); !bytes.Equal(got, noise(2, 300_000)) {
		t.Errorf("the resumed file has other content, %d bytes", len(got))
	}
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *platform) testRsync(t *testing.T) {
	from := p.tree(t, "two\nlines", "\xff\xfe not UTF-8")
	if err := os.Symlink("plain", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	back := filepath.Join(p.folder(t), "back")
	sync := func(from, to string) result {
		return p.run(t, "rsync", "-a", "-i", "--delete", from+"/", to+"/").expect(t, 0).expectQuiet(t)
	}
	there := tools + ":/tmp/synced"
	sync(from, there).expectSaid(t, "a folder/below/deep")
	sync(from, there).expectOut(t, "")
	sync(there, back)
	sync(there, back).expectOut(t, "")
	expectSame(t, "rsync", from, back, true)
	if err := os.Remove(filepath.Join(from, "plain")); err != nil {
		t.Fatal(err)
	}
	sync(from, there).expectSaid(t, "*deleting   plain")
	sync(there, back).expectSaid(t, "*deleting   plain")
	expectSame(t, "rsync --delete", from, back, true)
	// The sample has no rsync, and says so.
	r := p.run(t, "rsync", "-a", from, hello+":/tmp/synced")
	if r.code == 0 || !strings.Contains(r.stderr, "rsync") || !strings.Contains(r.stderr, "image") {
		t.Errorf("rsync to an image without it: status %d, stderr: %s", r.code, r.stderr)
	}
}

func (p *platform) testSshfs(t *testing.T) {
	mount := filepath.Join(p.folder(t), "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{hello, tools} {
		p.run(t, "sshfs", host+":/tmp", mount).expect(t, 0).expectQuiet(t)
		r := p.run(t, "sh", "-e", "-c", `
			cd "$1"; mkdir d; echo hello >d/a; mv d/a 'd/b c'; ln -s 'b c' d/l; cat d/l
			echo old >d/x; mv d/x 'd/b c'; cat 'd/b c'
			dd if=/dev/zero of=d/big bs=64k count=64 conv=fsync 2>/dev/null; stat -c %s d/big
			truncate -s 5 d/big; stat -c %s d/big; chmod 640 d/big; stat -c %a d/big
			touch -d 2001-02-03T04:05:06Z d/big; stat -c %Y d/big; ls d
			[ "$(df --output=size . | tail -1)" -gt 0 ]; rm -r d; ls -d d 2>/dev/null || echo gone`, "sh", mount)
		ended := p.run(t, "fusermount3", "-u", mount)
		r.expectOut(t, "hello\nold\n4194304\n5\n640\n981173106\nb c\nbig\nl\ngone\n")
		ended.expect(t, 0).expectQuiet(t)
	}
}

// testGit clones from a twin and pushes to it.
func (p *platform) testGit(t *testing.T) {
	dir := p.folder(t)
	p.run(t, "ssh", tools, "git init -q --template= --bare -b main /srv/project.git").expectOut(t, "")
	p.run(t, "sh", "-e", "-c", `
		cd "$1"; git clone -q "$2:/srv/project.git" one; cd one
		git checkout -q -b main; head -c 2000000 /dev/urandom >big; echo text >file; git add .
		git -c user.name=U -c user.email=u@example.com commit -q -m first
		git push -q origin main; cd ..
		git clone -q "ssh://$2/srv/project.git" two; cmp one/big two/big; cd two; git log --format=%s`, "sh", dir, tools).
		expect(t, 0).expectSaid(t, "first\n")
	p.run(t, "git", "ls-remote", "-q", tools+":/srv/nothing.git").expect(t, 128).expectSaid(t, "does not appear to be a git repository")
}

func (p *platform) testLftp(t *testing.T) {
	from, back := p.tree(t), filepath.Join(p.folder(t), "back")
	p.run(t, "lftp", "-c", fmt.Sprintf("set cmd:fail-exit yes; set net:max-retries 1; open sftp://%s; mirror -R %s /tmp/lftp; mirror /tmp/lftp %s; cls -1 /tmp/lftp; rm -r /tmp/lftp", hello, from, back)).
		expect(t, 0).expectSaid(t, "with space")
	expectSame(t, "lftp", from, back, true)
}
