package tool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDigestsAndDumps(t *testing.T) {
	dir := sample(t)
	if err := os.WriteFile(filepath.Join(dir, "sums"), []byte(program(t, dir, "", "sha256sum", "a.txt", "b.txt").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, dir, "stdin\x00\x01 of some bytes, and of some more",
		"md5sum a.txt", "sha1sum a.txt b.txt", "sha256sum", "sha512sum bin", "sha256sum gone", "sha256sum -c sums", "sha256sum -c --quiet sums",
		"base64", "base64 -w 10", "base64 -w 0 a.txt", "base64 b.txt", "hexdump", "hexdump -C", "hexdump -C -n 5 -s 3 a.txt", "hexdump -C b.txt", "hexdump b.txt", "hd bin", "hexdump -C a.txt bin",
		"xxd", "xxd -p", "xxd b.txt", "xxd -l 7 -s 2", "xxd -c 8", "xxd -g 1", "strings", "strings -n 2 bin", "strings -t d", "strings -8 a.txt")
	same(t, dir, "YWJj\nZGVm\n", "base64 -d")
	same(t, dir, "!!!", "base64 -d")
	same(t, dir, "00000000: 6162 630a                                abc.\n", "xxd -r")
	same(t, dir, "6162630a\n", "xxd -r -p")
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, dir, "", "sha256sum -c sums")
}

func TestDiffCmp(t *testing.T) {
	dir := tree(t, map[string]string{
		"a": "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "b": "1\n2\nthree\n4\n5\n6\n7\n8\n10\neleven", "c": "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n",
		"e": "", "bin": "a\x00b", "caps": "A b\n", "low": "a   B\n", "d1/x": "x\n", "d1/y": "y\n", "d1/s/z": "z\n", "d2/x": "X\n", "d2/w": "w\n", "d2/s/z": "zz\n",
	})
	same(t, dir, "1\n2\n",
		"diff a b", "diff b a", "diff a c", "diff -u --label l --label r a b", "diff -U1 --label l --label r a b", "diff -U 0 --label l --label r a b", "diff a e", "diff e a", "diff -q a b", "diff a bin", "diff a gone",
		"diff caps low", "diff -i -b caps low", "diff -iw caps low", "diff d1 d2", "diff -r d1 d2", "diff -rq d1 d2", "diff a -", "diff - a", "diff -s a c", "diff a d1", "diff -rN d1 d2",
		"cmp a c", "cmp -s a b", "cmp a e", "cmp a gone", "cmp a")
	if got := run(t, dir, "", "cmp", "a", "b"); got.stdout != "a b differ: byte 5, line 3\n" || got.status != 1 {
		t.Errorf("cmp: %+v", got)
	}
}

// TestCompareLines makes the one text of the other by its edits.
func TestCompareLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		make1 := func() []string {
			all := make([]string, r.IntN(30))
			for i := range all {
				all[i] = fmt.Sprint(r.IntN(1 + i%5))
			}
			return all
		}
		a, b := make1(), make1()
		var got []string
		at := 0
		for _, e := range compareLines(a, b) {
			got = append(append(got, a[at:e.a1]...), b[e.b1:e.b2]...)
			at = e.a2
		}
		got = append(got, a[at:]...)
		if strings.Join(got, ",") != strings.Join(b, ",") {
			t.Fatalf("%d: from %v to %v: got %v", i, a, b, got)
		}
	}
}

func TestJq(t *testing.T) {
	same(t, sample(t), `{"a":1,"b":[1,2,{"c":"x"}],"s":"text"} {"a":null}`,
		"jq .", "jq -c .", "jq .a", "jq -r .s", "jq '.b[2].c?'", "jq -c '.b[]?'", "jq -s length", "jq -n '[1,2]|add'", "jq -e .a", "jq --arg x v '.s + $x'", "jq --argjson n 3 -c '.a + $n'",
		"jq -j .s", "jq '.['", "jq --tab .", "jq -R .", "jq -n env.HOME", "jq 'keys|length'", "jq . gone", "jq --indent 1 .", "jq -rn '\"a\",\"b\"'")
	for _, command := range []string{"jq .", "jq .a.b"} {
		if got := run(t, t.TempDir(), `{"a":1} {bad`, words(command)...); got.status == 0 || got.stderr == "" {
			t.Errorf("%s of no JSON: %+v", command, got)
		}
	}
}

func TestOd(t *testing.T) {
	same(t, sample(t), "text\x00\x01\x80\xff of some bytes,\tand\nof \x1b some more \x7f\x08 \a of them \xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7 odd",
		"od", "od -c", "od -a", "od -b", "od -x", "od -d", "od -s", "od -i", "od -l", "od -o", "od -t x1", "od -tx1z", "od -An -tx1", "od -A d -t u4", "od -A x -t d1", "od -t x8", "od -t o4",
		"od -t xC -t c", "od -t x1c", "od -t x2 -t d4 -t a", "od -cb", "od -N 5 -c", "od -j 3 -N 20 -t x1", "od -w8 -c", "od -w -tx1", "od -w4 -t u1 -v b.txt", "od b.txt", "od -v b.txt",
		"od -c a.txt bin", "od gone", "od -t o8", "od -t d8", "od -t u8 -t x1", "od -tdS -tuI")
	for _, command := range []string{"od -t q", "od -t x3", "od -A q", "od -w3 -t x2", "od -w0"} {
		if got := run(t, t.TempDir(), "x", words(command)...); got.status != 2 || got.stderr == "" || got.stdout != "" {
			t.Errorf("%s: %+v", command, got)
		}
	}
}
