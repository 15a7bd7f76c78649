//go:build linux || darwin

package shell

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compared are scripts that must do what another shell does.
func compared() []struct{ name, text string } {
	return []struct{ name, text string }{
		{"status", "false; echo $?; true; echo $?; (exit 7); echo $?; ! true; echo $?"},
		{"quotes", `x='a  b'; echo $x "$x" '$x' "\$x" \$x; printf '%s|' "$x" $x; echo`},
		{"parameters", `set -- a "b c" d; echo $# "$2"; for i; do echo "<$i>"; done; shift; echo "$*" "$@"; set --; echo $#`},
		{"expansions", `x=/usr/lib/libfoo.so.1; echo ${x##*/} ${x#*/} ${x%.*} ${x%%.*} ${#x} ${y:-d} ${y:=e} $y ${y:+f} ${z-g}`},
		{"arithmetic", `i=5; echo $((i*2+1)) $((i<<3|1)) $((i>3?7:8)) $((-i%3)); i=$((i+=2)); echo $i`},
		{"loops", `for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done; i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i; until false; do break; done; echo $?`},
		{"case", `for x in abc b12 -v ''; do case $x in a*) echo A;; b[0-9]*|c) echo B;; -*) echo D;; '') echo E;; esac; done`},
		{"functions", `f() { local x=1; echo "$1 $#"; return 3; }; f a b; echo $?; x=2; g() { x=5; }; g; echo $x`},
		{"here-documents", "x=5\ncat <<A\n$x $((x+1)) `echo q` \\$x\nA\ncat <<'A'\n$x\nA\ncat <<-A\n\tindented\n\tA\n"},
		{"pipes", `printf 'b\na\nc\n' | sort | head -2; echo x | { read y; echo "[$y]"; }; false | true; echo $?; true | false; echo $?`},
		{"substitution", "echo $(echo a; echo b) `echo c`; x=$(false); echo $?; echo \"$(printf 'a\\n\\n')\"; echo $(echo $(echo deep))"},
		{"redirections", `echo a >f; echo b >>f; cat <f; echo e >&2 2>g; { echo o; echo e >&2; } >h 2>&1; cat h; cat nosuch 2>/dev/null; echo $?; wc -c <f; : >f; wc -c <f`},
		{"clobber", `echo x >|f; cat f; cat 0<&0 <f; cat f - <f`},
		{"globs", `touch a1 a2 b1 .h; echo a* [ab]1 ?2 *z; mkdir d; touch d/x; echo */x; set -f; echo a*`},
		{"tilde", `HOME=/h; echo ~ ~/x "~"`},
		{"braces", `echo a b; if true; then echo yes; else echo no; fi; { echo in; }; (cd /; pwd); [ "$PWD" = / ] || echo back`},
		{"and-or", `true && echo a || echo b; false && echo a || echo b; false || false || echo c`},
		{"errexit", `set -e; false || true; if false; then :; fi; echo here; false; echo never`},
		{"exit trap", `trap 'echo bye $?' EXIT; echo hi; exit 4`},
		{"exit in subshell", `(exit 3); echo $?; x=$(exit 5); echo $?; echo a | (read b; exit 6); echo $?`},
		{"environment", `A=1 env | grep ^A=; export B=2; env | grep ^B=; C=3; env | grep ^C=; echo $?; B=4 /usr/bin/env | grep ^B=; echo $B`},
		{"unset", `x=1; unset x; echo "[$x]"; f() { :; }; unset -f f; f 2>/dev/null; echo $?`},
		{"getopts", `while getopts ab:c o -a -b val -c x; do echo "$o $OPTARG"; done; echo $OPTIND`},
		{"read", `printf 'a b c\nd\\\ne\nlast' | { read x y; echo "$x|$y"; read z; echo "$z"; read w; echo "$? $w"; }`},
		{"read lines", "printf '1 a\\n2 b\\n' >f; while read n l; do echo \"$l$n\"; done <f; { read a; cat; } <f; IFS=: read p q <<E\nx:y:z\nE\necho $p $q"},
		{"eval", `x='echo $y'; y=5; eval $x; eval 'f() { echo in; }'; f; eval false; echo $?`},
		{"source", `echo 'x=9; echo $1; return 4' >s; . ./s; echo $? $x`},
		{"not found", `nosuch 2>/dev/null; echo $?; ./nosuch 2>/dev/null; echo $?; touch plain; ./plain 2>/dev/null; echo $?; / 2>/dev/null; echo $?`},
		{"programs", `/bin/echo out; /bin/sh -c 'exit 9'; echo $?; /bin/sh -c 'kill -9 $$'; echo $?; echo in | /bin/cat; x=$(/bin/echo sub); echo $x`},
		{"scripts", "printf 'echo $0 $1\\n' >s; chmod +x s; ./s arg; printf '#!/nosuch/bin/sh\\necho x' >t; chmod +x t; echo done"},
		{"background", `(exit 3) & wait $!; echo $?; { echo a; } & wait; echo b; sleep 0 & wait; echo $?`},
		{"background in loops", `for i in 1 2 3; do (exit $i) & p="$p $!"; done; for j in $p; do wait $j; echo $?; done`},
		{"signals", `sleep 100 & kill $!; wait $!; echo $?; /bin/sleep 100 & kill -9 $!; wait $!; echo $?`},
		{"trap signals", `trap 'echo usr1' USR1; kill -USR1 $$; echo after; trap - USR1; trap 'echo term; exit 5' TERM; kill $$; echo never`},
		{"closed pipe", `yes | head -1; while :; do echo y; done | head -2; (while :; do echo z; done) | head -1`},
		{"umask", `umask 022; umask; umask 077; umask; (umask 0; umask)`},
		{"cd", `mkdir -p d/e; cd d; cd -P e; cd ../..; cd -- d; echo ${PWD##*/}; cd - >/dev/null; cd nosuch 2>/dev/null || echo no`},
		{"test", `[ -f /etc/passwd ] && echo f; [ -d / -a ! -f / ] && echo d; test a = b || echo n; [ 3 -gt 2 ] && echo g; [ -z "" ] && [ -n x ]; echo $?; [ -t 0 ]; echo $?`},
		{"command", `command -v cd; command echo hi; command nosuch 2>/dev/null; echo $?`},
		{"xargs", `printf 'a\nb\n' | xargs -n1 echo got; printf 'x' | xargs /bin/echo`},
		{"times of day", `[ $(date +%Y) -gt 2000 ] && echo modern; x=$$; [ $x -gt 0 ] && echo pid`},
		{"stdin of a list", `printf '1\n2\n3\n' | (head -n 1 >/dev/null; echo ok); printf 'a\n' | while read x; do echo "<$x>"; done`},
		{"null", `echo gone >/dev/null; cat </dev/null; echo $?; echo to >/dev/stderr 2>/dev/null; echo out >/dev/stdout`},
		{"comments and lines", "echo a # b\necho c \\\n d\n# e\necho f;echo g"},
		{"positional", `f() { echo "$1" "${10}" "$#"; }; f 1 2 3 4 5 6 7 8 9 ten`},
		{"long output", `i=0; while [ $i -lt 2000 ]; do echo "line $i of a file that is longer than a pipe holds at once"; i=$((i+1)); done | tail -1`},
	}
}

func TestScriptsAsDash(t *testing.T) {
	theirs, err := exec.LookPath("dash")
	if err != nil {
		if theirs, err = exec.LookPath("sh"); err != nil {
			t.Skip("no other shell on this machine to compare with")
		}
	}
	for _, c := range compared() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			other := command(t, "-c", c.text)
			other.Path, other.Args[0] = theirs, "cloudssh-shell"
			want := run(t, other)
			got := script(t, c.text)
			got.want(t, want.out, want.status)
		})
	}
}

// TestScripts is what there is beyond POSIX, or differs from other shells.
func TestScripts(t *testing.T) {
	for _, c := range []struct {
		name, text, out string
		status          int
	}{
		{"arrays", `a=(x "y z"); echo ${#a[@]} "${a[1]}"; declare -A m; m[k]=v; echo ${m[k]}`, "2 y z\nv\n", 0},
		{"bash tests", `[[ abc == a* && abc =~ b ]] && echo yes; ((2>1)) && echo more`, "yes\nmore\n", 0},
		{"pipefail", `set -o pipefail; false | true; echo $?`, "1\n", 0},
		{"process substitution", `cat <(echo a) <(echo b)`, "a\nb\n", 0},
		{"here-string", `read x <<< "in put"; echo "$x"`, "in put\n", 0},
		{"job numbers", `sleep 100 & echo $!; kill %1; wait %1`, "%1\n", 143},
		{"wait for the first", `sleep 100 & false & wait -n; echo $?; kill %1`, "1\n", 0},
		{"background at the end", `echo first; { read x </dev/null; echo late; } &`, "first\nlate\n", 0},
		{"kinds", `type ls cd if; command -v ls; type -t cat test; f() { :; }; type -t f`, "ls is a tool of this shell\ncd is a shell builtin\nif is a shell keyword\nls\ntool\nbuiltin\nfunction\n", 0},
		{"own functions before tools", `ls() { echo mine; }; ls; command ls -d /`, "mine\n/\n", 0},
		{"tool in substitution", `cd /; echo $(cd usr; pwd; echo b | cat) $(pwd)`, "/usr b /\n", 0},
		{"missing interpreter", "printf '#!/nosuch/bin/bash\\necho ran $0 $1\\n' >s; chmod +x s; ./s a", "ran ./s a\n", 0},
		{"unset variables", `set -u; echo ${x:-ok}; echo $x; echo never`, "ok\n", 1},
		{"syntax", "echo a\nif", "a\n", 2},
		{"read times out", `read -t 0.01 x < <(sleep 100); echo $?`, "142\n", 0},
		{"read some", `printf abcdef | { read -n 3 x; read -N 2 y; echo $x $y; }`, "abc de\n", 0},
		{"traps", `trap 'echo x' EXIT INT; trap; trap - EXIT`, "trap -- 'echo x' SIGINT\ntrap -- \"echo x\" EXIT\n", 0},
		{"export list", `export -p | grep ^export.HOME=/h; HOME=/h; export -p | grep HOME`, "export HOME=/h\n", 0},
		{"killed from outside", `kill -HUP $$; echo never`, "", 129},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script(t, c.text).want(t, c.out, c.status)
		})
	}
}

func TestCalls(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.sh")
	if err := os.WriteFile(file, []byte("echo $0 $# $1\nexit 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		stdin string
		out   string
		want  int
	}{
		{[]string{file, "a", "b"}, "", file + " 2 a\n", 5},
		{[]string{"-c", `echo $0 $1`, "name", "one"}, "", "name one\n", 0},
		{[]string{"-c", `"$0" "$@"`, "echo", "a b", "c"}, "", "a b c\n", 0},
		{[]string{"-ec", "false; echo never"}, "", "", 1},
		{[]string{"-s", "x"}, "echo $1; cat\nthis is for cat\n", "x\nthis is for cat\n", 0},
		{nil, "echo from stdin\nread x\nline\necho [$x]", "from stdin\n[line]\n", 0},
		{[]string{"-o", "pipefail", "-c", "false | true"}, "", "", 1},
		{[]string{"ls", "-d", "/"}, "", "/\n", 0},
		{[]string{"--version"}, "", "cloudssh-shell v0.0.1-test\n", 0},
		{[]string{"nosuch.sh"}, "", "", 127},
		{[]string{"/"}, "", "", 126},
		{[]string{"-Z"}, "", "", 2},
		{[]string{"-c"}, "", "", 2},
		{[]string{"-i"}, "echo hi\nexit 3\n", "hi\n", 3},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			cmd := command(t, c.args...)
			cmd.Stdin = strings.NewReader(c.stdin)
			run(t, cmd).want(t, c.out, c.want)
		})
	}
	t.Run("by the name of a tool", func(t *testing.T) {
		cmd := command(t, "-d", "/")
		cmd.Args[0] = "/somewhere/ls"
		run(t, cmd).want(t, "/\n", 0)
	})
	t.Run("login", func(t *testing.T) {
		cmd := command(t, "-lc", "echo $X")
		if err := os.WriteFile(filepath.Join(cmd.Dir, ".profile"), []byte("X=profile\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, cmd).want(t, "profile\n", 0)
	})
}
