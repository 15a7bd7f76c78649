package main

import (
	"bytes"
	"errors"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"code.cloudfoundry.org/cli/plugin"
	"github.com/google/go-cmp/cmp"
)

// asPlugin makes the test binary the plugin itself.
const asPlugin = "CLOUDSSH_TEST_AS_CF_PLUGIN"

func TestMain(m *testing.M) {
	if v, ok := os.LookupEnv(asPlugin); ok {
		version = v
		main()
	}
	os.Exit(m.Run())
}

// cf is the part of the cf command line that plugins talk to, as its
// plugin/rpc/cli_rpc_server.go has it.
type cf struct{ metadata chan plugin.PluginMetadata }

func (c cf) SetPluginMetadata(m plugin.PluginMetadata, ok *bool) error {
	c.metadata <- m
	*ok = true
	return nil
}

func (c cf) IsMinCliVersion(string, *bool) error {
	return errors.New("the plugin needs no certain cf")
}

// start serves cf's RPC on a port of its own.
func start(t *testing.T) (c cf, port string) {
	t.Helper()
	c = cf{make(chan plugin.PluginMetadata, 1)}
	server := rpc.NewServer()
	if err := server.RegisterName("CliRpcCmd", c); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn)
		}
	}()
	return c, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// run runs the plugin as cf does and returns its exit status and output.
func run(t *testing.T, version string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asPlugin+"="+version)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestMetadata(t *testing.T) {
	cf, port := start(t)
	if status, stdout, stderr := run(t, "v1.2.3-4-gabcdef", port, "SendMetadata"); status != 0 || stdout+stderr != "" {
		t.Fatalf("exit status %d, %s%s", status, stdout, stderr)
	}
	m := <-cf.metadata
	if want := (plugin.VersionType{Major: 1, Minor: 2, Build: 3}); m.Name != "cloudssh" || m.Version != want {
		t.Errorf("got %s %v, want cloudssh %v", m.Name, m.Version, want)
	}
	// cf refuses plugins of another library version, or without commands.
	if m.LibraryVersion.Major > 1 || len(m.Commands) != 1 {
		t.Fatalf("cf would not install %+v", m)
	}
	c := m.Commands[0]
	if c.Name != "cloudssh" || c.Alias != "cssh" || c.HelpText == "" || !strings.Contains(c.UsageDetails.Usage, "cf cloudssh SERVICE") {
		t.Errorf("got command %+v", c)
	}
}

func TestVersionType(t *testing.T) {
	for in, want := range map[string]plugin.VersionType{
		"v1.2.3":             {Major: 1, Minor: 2, Build: 3},
		"0.10.0":             {Minor: 10},
		"1.2.3-next+g12":     {Major: 1, Minor: 2, Build: 3},
		"v1.2":               {},
		"1a2b3c4":            {},
		"12ab34c-dirty":      {},
		"devel":              {},
		"":                   {},
		"v0.0.0-2026-abcdef": {},
	} {
		if diff := cmp.Diff(want, versionType(in)); diff != "" {
			t.Errorf("versionType(%q) (-want +got):\n%s", in, diff)
		}
	}
}

func TestCommand(t *testing.T) {
	_, port := start(t)
	tests := map[string]struct {
		args           []string
		status         int
		stdout, stderr string // contained in what is printed
	}{
		"version":      {[]string{port, "cloudssh", "version"}, 0, "cloudssh v1.2.3", ""},
		"help":         {[]string{port, "cloudssh", "help"}, 0, "cf cloudssh", ""},
		"true status":  {[]string{port, "cloudssh", "--no-such-flag"}, 2, "", "hint: cf cloudssh help"},
		"uninstalling": {[]string{port, "CLI-MESSAGE-UNINSTALL"}, 0, "", ""},
		"by itself":    {nil, 2, "", "cf install-plugin"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := run(t, "v1.2.3", tt.args...)
			if status != tt.status || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("got exit status %d, stdout %q, stderr %q; want %d, %q, %q", status, stdout, stderr, tt.status, tt.stdout, tt.stderr)
			}
			if tt.stdout == "" && stdout != "" {
				t.Errorf("stdout %q, want none", stdout)
			}
		})
	}
}
