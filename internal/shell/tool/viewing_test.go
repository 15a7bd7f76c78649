package tool

import (
	"strings"
	"testing"
)

func sample(t *testing.T) string {
	t.Helper()
	return tree(t, map[string]string{
		"a.txt":       "one\ntwo two\n\n\nthree\tx\nfour four four\nno end",
		"b.txt":       strings.Repeat("a line of text\n", 30),
		"Makefile":    "all:\n\techo hi\n",
		"sub/c.go":    "package c\nfunc Two() {}\n",
		"sub/.hidden": "two\n",
		"sub/deep/d":  "deep two\n",
		"link":        "-> a.txt",
		"dirlink":     "-> sub",
		"nowhere":     "-> gone",
		"empty/":      "",
		"bin":         "x\x00two\x01\xff\n",
	})
}

func TestViewing(t *testing.T) {
	dir := sample(t)
	same(t, dir, "stdin text\nwith two\n",
		"ls", "ls -a", "ls -A", "ls -R", "ls -aR", "ls -l", "ls -la sub", "ls -lh", "ls -1 sub", "ls -d sub", "ls -F", "ls -p",
		"ls -S", "ls -r", "ls -Sr", "ls -lR", "ls -C -T0", "ls gone", "ls a.txt sub", "ls sub a.txt empty", "ls -li", "ls -s", "ls -lL link",
		"ls dirlink", "ls -l dirlink", "ls dirlink/", "ls -X", "ls -lgo", "ls -ln", "ls -C -T 0 -w 40", "ls -l --full-time",
		"cat a.txt", "cat -n a.txt b.txt", "cat -b a.txt", "cat -s a.txt", "cat -A bin a.txt", "cat -E a.txt", "cat a.txt - b.txt", "cat gone",
		"cat sub", "cat",
		"head a.txt", "head -n 2 a.txt", "head -3 a.txt", "head -c 5 a.txt", "head -n -2 a.txt", "head -c -3 a.txt", "head -n 1 a.txt b.txt",
		"head -qn1 a.txt b.txt", "head -v -n1 a.txt", "head gone a.txt",
		"tail a.txt", "tail -n 2 a.txt", "tail -3 a.txt", "tail -c 5 a.txt", "tail -n +2 a.txt", "tail -c +3 a.txt", "tail -n 1 a.txt b.txt",
		"tail -n 2", "tail -n +2", "tail -c 4", "tail -n 100 b.txt", "tail -n 0 a.txt",
		"wc a.txt", "wc a.txt b.txt", "wc -l b.txt", "wc -w a.txt", "wc -c", "wc -L a.txt", "wc -lc a.txt", "wc -m a.txt", "wc gone a.txt",
	)
}

func TestGrep(t *testing.T) {
	same(t, sample(t), "stdin two\nnone\n",
		"grep two a.txt", "grep -n two a.txt", "grep -v two a.txt", "grep -c two a.txt b.txt", "grep -i TWO a.txt", "grep -w fou a.txt",
		"grep -w four a.txt", "grep -x one a.txt", "grep -o four a.txt", "grep -on 'fo*' a.txt", "grep -l two a.txt b.txt", "grep -L two a.txt b.txt",
		"grep -q two a.txt", "grep -q nothing a.txt", "grep two", "grep two gone", "grep -s two gone a.txt", "grep -h two a.txt Makefile",
		"grep -H two a.txt", "grep -e one -e three a.txt", "grep -F 'o t' a.txt", "grep -E 'one|three' a.txt", "grep 'one\\|three' a.txt",
		"grep '^t.*o$' a.txt", "grep -E '(two ?){2}' a.txt", "grep 'o\\{1,2\\}' a.txt", "grep -A1 two a.txt", "grep -B1 three a.txt",
		"grep -C1 -n two a.txt", "grep -m2 line b.txt", "grep -c line b.txt", "grep '' a.txt", "grep -v '' a.txt", "grep '[[:upper:]]' Makefile a.txt",
		"grep '[]o]' a.txt", "grep '\\<t' a.txt", "grep two bin", "grep -a two bin", "grep -c two bin", "grep 'a*b' a.txt", "grep '*' a.txt",
		"grep -nv two a.txt", "grep -vc two a.txt", "grep -iE 'ONE|FOUR' a.txt", "grep -i 'F.*R' a.txt", "grep 'three[[:space:]]x' a.txt",
		"sorted: grep -r two .", "sorted: grep -rn two sub", "sorted: grep -rl two", "sorted: grep -r --include=*.go two .",
		"sorted: grep -rL two .", "sorted: grep -r --exclude-dir=deep two sub", "sorted: grep -ri --exclude=*.go TWO sub", "sorted: grep -rc two sub",
		"grep two sub", "egrep 'o+' a.txt", "fgrep 'o' a.txt", "grep -n no a.txt", "grep -A1 -n l b.txt", "grep -w two -A 1 a.txt",
		"grep -C0 o a.txt", "grep -n '^$' a.txt", "grep -E '^(one|no)' a.txt", "grep '[^a-z]x' a.txt", "grep 'a[' a.txt",
	)
}
