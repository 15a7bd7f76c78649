//go:build linux || darwin

// Cloudssh-agent is the entrypoint of a twin: an SSH server behind a WebSocket
// endpoint, on the port that Cloud Run gives it. Its settings are in the
// environment variable CLOUDSSH_AGENT, and nowhere else.
//
// Under the name cloudssh-app it starts the app in the place of which it runs,
// under the name cloudssh-env it shows the app's environment.
// `cloudssh-agent copy` is what it does in a sidecar of its own.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cloudssh/cloudssh/internal/agent"
	"github.com/cloudssh/cloudssh/internal/transport"
)

var _ agent.Conn = (*transport.Conn)(nil) // or the agent would not know its callers

// version is set by the linker: -X main.version=v1.2.3.
var version string

func main() {
	name := filepath.Base(os.Args[0])
	if command, ok := commands()[name]; ok {
		if err := command(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(agent.ExitStatus(err))
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("cloudssh-agent", buildVersion())
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cloudssh-agent:", err)
		os.Exit(1)
	}
}

// commands are what the agent does under the names of its links.
func commands() map[string]func(args []string) error {
	return map[string]func(args []string) error{
		agent.AppCommand: func(args []string) error { return agent.RunApp(args, os.Environ(), os.Stderr) },
		agent.EnvCommand: func(args []string) error { return agent.RunEnv(args, os.Environ(), os.Stdout) },
	}
}

// buildVersion must come out the same as the client's, or the two will not talk.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch {
	case len(os.Args) > 1 && os.Args[1] == "copy":
		return copyCommand(ctx, os.Args[2:])
	case len(os.Args) > 1:
		return fmt.Errorf("unexpected argument %q", os.Args[1])
	}
	settings, err := agent.ParseSettings(os.Getenv(agent.SettingsVariable))
	if err != nil {
		return err
	}
	port, err := listenPort(os.Getenv("PORT"))
	if err != nil {
		return err
	}
	limitMemory(0)
	return serve(ctx, settings, port)
}

// listenPort is the container contract's: the value of PORT, or 8080.
func listenPort(value string) (int, error) {
	if value == "" {
		return 8080, nil
	}
	port, err := strconv.Atoi(value)
	if err != nil || port < 0 || port > 65535 {
		return 0, fmt.Errorf("PORT is %q, which is no port", value)
	}
	return port, nil
}

// serve answers HTTP on the port and SSH inside it, until ctx ends or a limit
// of the settings is reached.
func serve(ctx context.Context, settings agent.Settings, port int) error {
	hostKey, err := newHostKey()
	if err != nil {
		return err
	}
	log := newLogger().With("twin", settings.Twin)
	streams := transport.NewListener(transport.ListenerConfig{
		Version:        buildVersion(),
		Instance:       newInstanceID(),
		HostKey:        strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey.PublicKey()))),
		RequestTimeout: time.Duration(settings.RequestTimeout) * time.Second,
		Keep:           keep(settings, time.Now()),
		Logger:         log,
	})
	tcp, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return fmt.Errorf("listening on PORT: %w", err)
	}
	server := &http.Server{
		Handler:           handler(streams),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go returnMemory(ctx)
	served := make(chan error, 1)
	go func() {
		defer stop()
		served <- server.Serve(tcp)
	}()
	log.Info("agent started", "version", buildVersion(), "address", tcp.Addr().String(), "service", settings.Service)
	err = agent.Serve(ctx, streams, agent.Config{
		Settings:  settings,
		HostKey:   hostKey,
		Version:   buildVersion(),
		Logger:    log,
		Shell:     besides(shellName),
		LastLeft:  func() { streams.Refuse(http.StatusGone) },
		Connected: limitMemory,
	})
	err = errors.Join(err, server.Close())
	if broken := <-served; !errors.Is(broken, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving HTTP: %w", broken))
	}
	return err
}

// besides is a file beside the agent, "" if nobody knows where that is.
func besides(name string) string {
	self, err := os.Executable()
	if err != nil { // there is no /proc
		if self = os.Args[0]; !filepath.IsAbs(self) {
			return ""
		}
	}
	return filepath.Join(filepath.Dir(self), name)
}

// maxKeep is how long a stream is kept for a client that is out of reach: a
// night, and the day before it.
const maxKeep = 24 * time.Hour

// keep is maxKeep, or less when the lease ends before.
func keep(settings agent.Settings, now time.Time) time.Duration {
	if settings.Expires == 0 {
		return maxKeep
	}
	return max(time.Minute, min(maxKeep, time.Unix(settings.Expires, 0).Sub(now)))
}

// handler puts the agent's paths beside a page that tells people and probes
// what this is.
func handler(streams http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/cloudssh/", streams)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "This is a temporary copy of a service, made by cloudssh for a developer's session. The service itself is elsewhere.") //nolint:errcheck // the caller is gone
	})
	return mux
}

// newHostKey makes a key that lives and dies with the instance: the client
// learns it over TLS.
func newHostKey() (ssh.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the host key: %w", err)
	}
	return ssh.NewSignerFromKey(key)
}

func newInstanceID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails, says its documentation
	return hex.EncodeToString(id)
}

// newLogger writes JSON as Cloud Logging reads it: time, severity and message
// are its names.
func newLogger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.LevelKey:
				a.Key = "severity"
				if a.Value.String() == "WARN" {
					a.Value = slog.StringValue("WARNING")
				}
			case slog.MessageKey:
				a.Key = "message"
			}
			return a
		},
	}))
}
