package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloudssh/cloudssh/internal/transfer"
)

func TestParseLocation(t *testing.T) {
	for _, tt := range []struct {
		arg, goos string
		want      location
		err       string
	}{
		{"hello:/x", "linux", location{service: "hello", path: "/x"}, ""},
		{"hello:", "linux", location{service: "hello", path: "."}, ""},
		{"hello:a:b", "linux", location{service: "hello", path: "a:b"}, ""},
		{"hello: with space", "linux", location{service: "hello", path: " with space"}, ""},
		{"job:nightly:/x", "linux", location{service: "job:nightly", path: "/x"}, ""},
		{"worker-pool:p:", "linux", location{service: "worker-pool:p", path: "."}, ""},
		{"service:hello:x", "linux", location{service: "service:hello", path: "x"}, ""},
		{"job:/x", "linux", location{service: "job", path: "/x"}, ""},
		{"job:Upper:x", "linux", location{service: "job", path: "Upper:x"}, ""},
		{"./a:b", "linux", location{path: "./a:b"}, ""},
		{"/a:b", "linux", location{path: "/a:b"}, ""},
		{"dir/a:b", "linux", location{path: "dir/a:b"}, ""},
		{":x", "linux", location{path: ":x"}, ""},
		{"-", "linux", location{path: "-", std: true}, ""},
		{"./-", "linux", location{path: "./-"}, ""},
		{"c:x", "linux", location{service: "c", path: "x"}, ""},
		{`C:\x`, "windows", location{path: `C:\x`}, ""},
		{"c:x", "windows", location{path: "c:x"}, ""},
		{`dir\a:b`, "windows", location{path: `dir\a:b`}, ""},
		{"hello:/x", "windows", location{service: "hello", path: "/x"}, ""},
		{"Hello:x", "linux", location{}, "not the name of a service"},
		{"user@host:x", "linux", location{}, "not the name of a service"},
		{"", "linux", location{}, "empty"},
	} {
		got, err := parseLocation(tt.arg, tt.goos)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q on %s is %+v, %v; want %+v, %q", tt.arg, tt.goos, got, err, tt.want, tt.err)
		}
	}
}

// TestCommandLine: what is offered to be typed again does the same.
func TestCommandLine(t *testing.T) {
	a := &app{}
	cmd := newCpCmd(a)
	root := &cobra.Command{Use: "cloudssh"}
	a.global.register(root)
	root.AddCommand(cmd)
	got := ""
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		got = commandLine(cmd, args)
		return nil
	}
	root.SetArgs([]string{"cp", "-rp", "--project", "shop", "--set-env-vars", "A=b c", "hello:/a b", "it's", "-"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if want := `cloudssh cp --preserve --project=shop --recursive '--set-env-vars=A=b c' 'hello:/a b' 'it'\''s' -`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestPicture(t *testing.T) {
	for want, s := range map[string]transfer.State{
		"1.0 KiB of 2.0 KiB+ 100 B/s file 2 of 3+ here": {Files: 1, AllFiles: 3, Bytes: 1024, AllBytes: 2048, Current: "here"},
		"[==========..........]  50% 50.0 MiB of 100.0 MiB 100 B/s file 2 of 3 1 failed x": {
			Files: 1, AllFiles: 3, Bytes: 50 << 20, AllBytes: 100 << 20, Listed: true, Failed: 1, Current: "x",
		},
		"[===================.]  98% 10000 B of 10.0 KiB 100 B/s ETA 2s x": {AllFiles: 1, Bytes: 10_000, AllBytes: 10_240, Listed: true, Current: "x"},
		"12 B 100 B/s standard input":                                      {AllFiles: 1, Bytes: 12, Current: "standard input"},
	} {
		want = strings.ReplaceAll(want, "10000 B", "9.8 KiB")
		if got := picture(s, 100); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := &rate{}
	for i := range 100 {
		got := r.of(int64(i)*1000, now.Add(time.Duration(i)*time.Second))
		if want := 1000.0; i > 0 && got != want || i == 0 && got != 0 {
			t.Errorf("after %d s: %v", i, got)
		}
	}
}

func TestSummary(t *testing.T) {
	for want, r := range map[string]transfer.Report{
		"copied nothing":                     {},
		"copied 1 file, 3 B in 2.0s (1 B/s)": {Files: 1, Bytes: 3, Moved: 3},
		"copied 2 files, 1 link, 3 directories, 2.0 GiB in 2.0s (512.0 MiB/s); 1.0 GiB were there already": {Files: 2, Links: 1, Dirs: 3, Bytes: 2 << 30, Moved: 1 << 30},
	} {
		if got := summary(r, 2*time.Second); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
