package sshconfig_test

import (
	"strings"
	"testing"

	"github.com/cloudssh/cloudssh/internal/sshconfig"
)

// TestWindows holds the form for Windows, where the line is read by the
// program's C runtime, cmd.exe or Git's sh.
func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		program, dir, flag string
		command, identity  string
	}{
		{
			`C:\cloudssh\cloudssh.exe`, `C:\Users\me\AppData\Roaming\cloudssh`, "--project=p",
			`"C:/cloudssh/cloudssh.exe" proxy "%h" --project=p`,
			`"C:/Users/me/AppData/Roaming/cloudssh/id"`,
		},
		{
			`C:\Program Files\cloud ssh\cloudssh.exe`, `C:\Users\Me Too\cloudssh`, "--reason=a b",
			`"C:/Program Files/cloud ssh/cloudssh.exe" proxy "%h" "--reason=a b"`,
			`"C:/Users/Me Too/cloudssh/id"`,
		},
		{
			`D:\50%\it's\cloudssh.exe`, `\\server\share\100%\cloudssh`, `--reason=say "hi"`,
			`"D:/50%%/it's/cloudssh.exe" proxy "%h" "--reason=say \"hi\""`,
			`"//server/share/100%%/cloudssh/id"`,
		},
	} {
		b := block()
		b.Windows = true
		b.Command = []string{tt.program, "proxy", sshconfig.HostName, tt.flag}
		b.IdentityFile = tt.dir + `\id`
		if got := b.ProxyCommand(); got != tt.command {
			t.Errorf("%s:\n got %s\nwant %s", tt.program, got, tt.command)
		}
		text, err := b.Text()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "\n    IdentityFile "+tt.identity+"\n") {
			t.Errorf("%s: no IdentityFile %s in\n%s", tt.dir, tt.identity, text)
		}
		for _, name := range hostile {
			if name != "cloudssh-\ntouch x\n" && matches(t, b, name) {
				t.Errorf("the block is for %q", name)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		change func(*sshconfig.Block)
		want   string
	}{
		{func(b *sshconfig.Block) { b.Prefix = "" }, "the prefix"},
		{func(b *sshconfig.Block) { b.Prefix = "*" }, "the prefix"},
		{func(b *sshconfig.Block) { b.Prefix = "a b" }, "the prefix"},
		{func(b *sshconfig.Block) { b.Prefix = "-x" }, "the prefix"},
		{func(b *sshconfig.Block) { b.Prefix = "Prod-" }, "the prefix"},
		{func(b *sshconfig.Block) { b.Names = []string{"Hello"} }, "is not SERVICE"},
		{func(b *sshconfig.Block) { b.Names = []string{"*"} }, "is not SERVICE"},
		{func(b *sshconfig.Block) { b.Names = []string{"a b"} }, "is not SERVICE"},
		{func(b *sshconfig.Block) { b.Names = []string{""} }, "is not SERVICE"},
		{func(b *sshconfig.Block) { b.Command = []string{"a\nHost *"} }, "in one line"},
		{func(b *sshconfig.Block) { b.IdentityFile = "/a\n" }, "in one line"},
		{func(b *sshconfig.Block) { b.KnownHosts = "/${HOME}/x" }, "for a variable"},
		{func(b *sshconfig.Block) { b.KnownHosts, b.Windows = `C:\"`, true }, "no path"},
		{func(b *sshconfig.Block) { b.Names = []string{"hello.europe-west1.example.com:proj"} }, ""},
	} {
		b := block()
		tt.change(&b)
		_, err := b.Text()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", b, err, tt.want)
		}
	}
}
