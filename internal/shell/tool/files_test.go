package tool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBasics(t *testing.T) {
	same(t, sample(t), "",
		"echo a b", "echo -n a", "echo -e 'a\\tb\\n'", "echo -x", "printf '%s-%d\\n' a 1 b 2", "printf '%05d|%x' 3 255", "printf 'a\\n'",
		"seq 3", "seq 2 4", "seq 1 2 9", "seq 5 -2 0", "seq 0.5 0.25 1.5", "seq -w 8 11", "seq -s , 3", "seq 3 1",
		"basename /a/b.c", "basename /a/b.c .c", "basename -s .c -a x.c y.c", "basename /", "basename a/", "dirname /a/b", "dirname a", "dirname /a", "dirname a/b/ /", "dirname //x",
		"test a = a", "test a != a", "test -f a.txt", "test -d a.txt", "test ! -d a.txt", "test -L link", "test 3 -gt 2 -a 1 -lt 0", "test ( a = b ) -o x", "test",
		"test -n ''", "test -z ''", "test 1 -eq x", "[ a = a ]", "[ a = a", "test -s a.txt", "test -e nowhere", "test a.txt -nt sub", "test link -ef a.txt", "test -x sub", "true", "false",
		"readlink link", "readlink a.txt", "readlink -f link", "readlink -f gone", "readlink -f gone/x", "readlink -f nowhere", "realpath dirlink/c.go", "realpath -m x/y", "readlink -e gone",
		"stat -c '%n %s %a %A %F %h %u %U %f' a.txt sub link bin", "stat gone", "stat -c %N link")
}

// TestStatLong compares all lines but the last, Birth, which only some systems know.
func TestStatLong(t *testing.T) {
	dir := sample(t)
	for _, command := range []string{"stat a.txt", "stat sub", "stat -L link", "stat /dev/null"} {
		got, want := run(t, dir, "", words(command)...), program(t, dir, "", words(command)...)
		if before, _, _ := strings.Cut(want.stdout, " Birth"); got.stdout != before {
			t.Errorf("%s: got\n%s\nwant\n%s", command, got.stdout, before)
		}
	}
}

// TestChanges runs commands that change files in two trees alike, as tools and
// as programs, and compares all that is left.
func TestChanges(t *testing.T) {
	for _, commands := range [][]string{
		{"cp a.txt new", "cp a.txt b.txt empty", "cp -r sub copy", "cp -r sub empty", "cp gone x", "cp sub x", "cp a.txt a.txt", "cp -n a.txt b.txt", "cp -a link l2", "cp link l3"},
		{"cp a.txt sub/", "cp a.txt gone/", "cp -r sub/. empty", "cp -rT sub t", "cp -rL dirlink d2", "cp -P link l4", "cp a.txt b.txt c.txt", "cp -r sub a.txt"},
		{"mv a.txt new", "mv b.txt empty", "mv sub empty", "mv gone x", "mv new empty/b.txt", "mv -n Makefile empty/b.txt", "mv link l", "mv empty l", "mv bin bin"},
		{"mv -t empty a.txt b.txt", "mv sub sub/x", "mv dirlink/ x", "mv -v a.txt b.txt", "mv -T sub empty"},
		{"rm a.txt", "rm gone", "rm -f gone", "rm sub", "rm -r sub", "rm -rv empty", "rm link", "rm dirlink/", "rm .", "rm -d empty", "rm"},
		{"mkdir x", "mkdir x", "mkdir -p x/y/z", "mkdir q/r", "mkdir -m 700 s", "mkdir -v v", "rmdir x", "rmdir x/y/z", "rmdir -p x/y", "rmdir a.txt", "rmdir --ignore-fail-on-non-empty sub"},
		{"ln a.txt hard", "ln -s a.txt soft", "ln -s a.txt soft", "ln -sf b.txt soft", "ln -s ../a.txt sub", "ln -sfn sub dirlink", "ln gone h", "ln -sr sub/c.go empty/rel", "ln -s /x", "ln -sT a.txt sub"},
		{"chmod 600 a.txt", "chmod u+x,go-r b.txt", "chmod -R a+rX sub", "chmod g=u,o= Makefile", "chmod -x bin", "chmod -R 700 sub", "chmod z a.txt", "chmod 644 gone", "chmod +s bin", "chmod 1777 empty", "chmod a= empty"},
		{"touch new", "touch -c gone", "touch -d 2026-01-02 a.txt", "touch -t 202601020304.05 b.txt", "touch -r a.txt Makefile", "touch -m -d @5 bin", "touch x/y", "touch -h -d @7 nowhere"},
		{"truncate -s 5 a.txt", "truncate -s +1k b.txt", "truncate -s 0 new", "truncate -s -2 bin", "truncate -c -s 1 gone", "chown 12:34 a.txt", "chown -R 7 sub", "chown :9 b.txt", "chown -h 5 link", "chgrp 3 bin", "chown nobody_here a.txt"},
	} {
		t.Run(commands[0], func(t *testing.T) {
			ours, theirs := sample(t), sample(t)
			for _, command := range commands {
				got, want := run(t, ours, "", words(command)...), program(t, theirs, "", words(command)...)
				out := strings.ReplaceAll(want.stdout, theirs, ours)
				if (got.status == 0) != (want.status == 0) || sortLines(got.stdout) != sortLines(out) {
					t.Errorf("%s: status %d %q %s, want %d %q %s", command, got.status, got.stdout, got.stderr, want.status, out, want.stderr)
				}
				if got.status != 0 && got.stderr == "" {
					t.Errorf("%s: nothing on stderr", command)
				}
			}
			list := []string{"find", ".", "-printf", "%p %y %m %n %l %U %G", "(", "-type", "f", "-printf", " %s", "-o", "-true", ")", "(", "-mtime", "+3", "-printf", " %T@", "-o", "-true", ")", "-printf", "\n"}
			want, have := sortLines(program(t, theirs, "", list...).stdout), sortLines(program(t, ours, "", list...).stdout)
			if want != have {
				t.Errorf("left: %s\nwant: %s", have, want)
			}
		})
	}
}

func TestRemoveAsks(t *testing.T) {
	dir := sample(t)
	if got := run(t, dir, "n\ny\n", "rm", "-i", "a.txt", "b.txt"); got.status != 0 || !strings.Contains(got.stderr, "remove 'b.txt'?") {
		t.Errorf("rm -i: %+v", got)
	}
	for name, there := range map[string]bool{"a.txt": true, "b.txt": false} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}
