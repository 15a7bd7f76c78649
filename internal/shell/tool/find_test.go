package tool

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	dir := sample(t)
	old := time.Now().Add(-50 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "b.txt"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "Makefile"), 0o755); err != nil {
		t.Fatal(err)
	}
	same(t, dir, "",
		"sorted: find", "sorted: find .", "sorted: find sub", "sorted: find sub/ a.txt", "find gone", "sorted: find . -name *.txt",
		"sorted: find . -iname MAKE*", "sorted: find . -name '[ab].*'", "sorted: find . -path '*deep*'", "sorted: find . -type d", "sorted: find . -type f,l",
		"sorted: find . -type f -name '*.go' -o -name Makefile", "sorted: find . ! -type f", "sorted: find . -not ( -type f -o -type d )",
		"sorted: find . -maxdepth 1", "sorted: find . -mindepth 2", "sorted: find . -size +10c", "sorted: find . -size -1k", "sorted: find . -type f -size 1",
		"sorted: find . -mtime +1", "sorted: find . -mtime -1 -type f", "sorted: find . -mmin +60", "sorted: find . -newer b.txt -type f", "sorted: find . -perm 755 -type f",
		"sorted: find . -perm -u+x -type f", "sorted: find . -perm /111 -type f", "sorted: find . -empty", "sorted: find . -name sub -prune -o -print",
		"find sub -depth -name d", "sorted: find . -name '*.txt' -printf '%p %f %s %y %d %h %P|%m %M %U\\n'", "sorted: find . -name '*.txt' -exec echo got {} ;",
		"find sub -name d -exec echo {} +", "sorted: find . -type f -print0", "find . -name nothing", "find . -name a.txt -quit -o -quit", "find . -name link -printf '%l\\n'",
		"sorted: find -L . -type d", "sorted: find . -xtype f", "sorted: find . -lname a*", "sorted: find . -regex '.*/[a-c].txt'", "sorted: find . -user root -links 1 -type l",
		"find sub/deep -execdir echo {} ;", "find a.txt -printf '%TY-%Tm %k\\n'", "find . -bad", "find . -name", "find . ( -name x", "find / -maxdepth 1 -name usr",
		"sorted: find . -readable -samefile a.txt", "find b.txt -newermt 2000-01-01",
	)
	if got := run(t, dir, "", "find", "sub", "-name", "d", "-delete"); got.status != 0 || got.stderr != "" {
		t.Errorf("find -delete: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "sub/deep/d")); err == nil {
		t.Error("find -delete has deleted nothing")
	}
}

func TestDate(t *testing.T) {
	sameNow(t, sample(t),
		"date -d '2026-01-02 03:04:05'", "date -u -d @86400", "date -d @0 +%F", "date -d '2026-01-02 03:04' +%Y/%m/%d-%H:%M:%S", "date -d 2026-03-01 -R",
		"date -d 2026-03-01 -Iseconds", "date -d 2026-03-01 -I", "date -d '2026-03-01 +1 day' +%a,%A,%b,%B,%j,%e,%y,%s,%V,%u,%w", "date +%Y-%m-%d",
		"date -d '2026-01-31 1 week ago' +%F", "date -d nonsense", "date -d @1.5 +%s.%N", "date -d '2026-01-02' '+%-d %_d %^a %:z %k %l %p %T %D %R'",
		"date -d yesterday +%F", "date -d '3 days ago' +%F", "date -d '2 hours' +%H", "date -d tomorrow +%F", "date -d '12 Mar 2026' +%F",
	)
}
