package tool

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSortUniqCutTr(t *testing.T) {
	stdin := "pear 10 x\napple 9 y\nApple 100 z\nfig 1.5 x\n\npear 10 x\nzoo -3 a\n  lead 7 q\n"
	same(t, sample(t), stdin,
		"sort", "sort -r", "sort -n", "sort -k2n", "sort -k2,2n -k1,1r", "sort -f", "sort -u", "sort -k 3", "sort -k1.2", "sort -b", "sort -fu", "sort -c", "sort -t p -k2",
		"sort -k2nr", "sort -s -k3,3", "sort -rn -k2", "sort a.txt b.txt", "sort -k2,2 -s", "sort gone", "sort -t ' ' -k3,3 -u", "sort -d",
		"uniq", "uniq -c", "uniq -d", "uniq -u", "uniq -i", "uniq -f 1", "uniq -w 2", "uniq -s 3",
		"cut -c 1-3", "cut -d ' ' -f 1", "cut -d ' ' -f 2-", "cut -f 1", "cut -d ' ' -f 1,3", "cut -b -2,4", "cut -s -d ' ' -f 2", "cut -d ' ' -f 2 --complement", "cut -d ' ' -f 1,2 --output-delimiter=:",
		"tr a-z A-Z", "tr -d aeiou", "tr -s p", "tr -cd '[:alpha:]\\n'", "tr '[:lower:]' '[:upper:]'", "tr ' ' '\\n'", "tr -c 'a-z\\n' _", "tr -s '\\n'", "tr abc x", "tr -s a-z X", "tr '\\141' Z", "tr -ds a p", "tr 0-9 '[x*]'")
	same(t, sample(t), "10K\n9\n1M\n2.5G\n100\n1K\n", "sort -h", "sort -hr")
	same(t, sample(t), "v1.10\nv1.9\nv1.2.3\n", "sort -V")
	same(t, sample(t), "Mar\nJan\nfoo\nDec\n", "sort -M")
	same(t, sample(t), "a\x00c\x00b\x00", "sort -z")
}

func TestSed(t *testing.T) {
	stdin := "one two\nthree four\n# comment\n\nfive five five\nsix/seven\nlast"
	same(t, sample(t), stdin,
		"sed s/o/0/", "sed s/o/0/g", "sed -n p", "sed -n 2p", "sed 2d", "sed '2,3d'", "sed '$d'", "sed '/^#/d'", "sed '/^$/d'", "sed -n '/three/,/five/p'", "sed 's/five/5/2'", "sed 's/five/5/2g'",
		"sed 's|/|-|'", "sed 's/\\(o\\)\\(n\\)/\\2\\1/'", "sed -E 's/(o)(n)/\\2\\1/'", "sed 's/.*/[&]/'", "sed 's/five/&\\n/'", "sed -n '$='", "sed =", "sed -n '/o/s/o/0/p'", "sed '1!d'", "sed '2q'", "sed -n '2{p;q}'",
		"sed 'y/abc/xyz/'", "sed '2i\\inserted'", "sed '2a appended'", "sed '2c changed'", "sed '2,3c changed'", "sed G", "sed -n '1!G;h;$p'", "sed 'N;s/\\n/ /'", "sed '$!N;P;D'", "sed ':a;N;$!ba;s/\\n/,/g'", "sed -e s/one/1/ -e s/two/2/",
		"sed '0~2d'", "sed '1~2d'", "sed '2,+1d'", "sed '0,/o/d'", "sed '/three/I,$d'", "sed 's/[^ ]*$/X/'", "sed 's/ \\+/_/g'", "sed -E 's/ +|e/_/g'", "sed 's/O/x/I'", "sed 's/\\w\\+/<\\u&>/g'", "sed 's/one/\\U&/'", "sed q5",
		"sed 's/x*/-/g'", "sed -n l", "sed '/two/{s/t/T/;s/w/W/}'", "sed '/four/!s/e/E/g'", "sed 's/a\\|e/_/g'", "sed 's,six/,6,'", "sed --quiet /six/p", "sed 's/[/]/|/'", "sed 'r a.txt'", "sed '/two/b;s/^/> /'", "sed 's/o/0/;ta;s/e/3/;:a'", "sed x", "sed 10q",
		"sed 's/o'", "sed k", "sed '{p'", "sed -n /one/,/nothing/p", "sed d gone", "sed -s -n 1p a.txt b.txt", "sed -n 1p a.txt b.txt", "sed '5,2p'", "sed '1,/t/s/t/T/'", "sed '2!{/t/d}'")
}

func TestSedInPlace(t *testing.T) {
	dir := sample(t)
	if err := os.Chmod(filepath.Join(dir, "a.txt"), 0o604); err != nil {
		t.Fatal(err)
	}
	if got := run(t, dir, "", "sed", "-i.bak", "-e", "s/two/2/;w out", "a.txt", "b.txt"); got.status != 0 || got.stdout != "" {
		t.Errorf("sed -i: %+v", got)
	}
	same(t, dir, "", "cat a.txt", "stat -c '%a %U' a.txt", "cat a.txt.bak", "wc -l out b.txt", "ls -A")
	if got := run(t, dir, "", "cat", "a.txt"); got.stdout[:8] != "one\n2 tw" {
		t.Errorf("sed -i left %q", got.stdout)
	}
}

// TestAwk has what it says in common with the AWK of this machine.
func TestAwk(t *testing.T) {
	dir := sample(t)
	if err := os.WriteFile(filepath.Join(dir, "prog"), []byte("# of a file\n/t/ { print x, $1 }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // it has a process of its own in the shell
	same(t, dir, "one two 3\nfour five 6\n\nseven:eight 9 x\n",
		"awk '{print $2}'", "awk '{s+=$3} END{print s}'", "awk -F: '{print $1,NF}'", "awk -F '[ :]' '{print $2}'", "awk -v x=5 'BEGIN{print x+1}'", "awk -v 'x=a\\tb' 'BEGIN{print x}'", "awk NF", "awk 'NR==2'",
		"awk '/two/,/seven/{print NR\":\"$0}'", "awk '{$2=\"X\"; print}'", "awk 'BEGIN{printf \"%5.2f|%s|%d\\n\", 3.14159, \"s\", 42}'", "awk '{n[$1]++} END{print length(n)}'",
		"awk '{gsub(/e/,\"E\"); print toupper(substr($0,1,3)) $NF}'", "awk 'BEGIN{while((getline l < \"a.txt\")>0) n++; print n}'", "awk '{print FILENAME, FNR}' a.txt sub/c.go", "awk 'END{print NR}' a.txt -",
		"awk '{print > \"out\"} END{close(\"out\"); while((getline l < \"out\")>0) print \"<\" l \">\"}'", "awk 'BEGIN{print ENVIRON[\"HOME\"], ARGC, ARGV[1]; exit 3}' x", "awk 'BEGIN{split(\"a,b,c\",p,\",\"); print p[2], index(\"abc\",\"c\")}'",
		"awk -f prog x=7 a.txt", "awk 'BEGIN{\"echo sub\" | getline x; print x; system(\"echo sys\"); print \"b\\na\" | \"sort\"}'", "awk 1 RS= b.txt", "awk 'func f(x){return x*2} BEGIN{print f(4)}'", "awk -F '\\t' '{print $2}' a.txt")
	for command, want := range map[string]int{"awk": 2, "awk {": 2, "awk 1 gone": 2, "awk -f gone": 2, "awk -v x 1": 2} {
		if got := run(t, dir, "", words(command)...); got.status != want || got.stderr == "" {
			t.Errorf("%s: %+v", command, got)
		}
	}
}
