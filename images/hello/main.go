// Command hello is the sample service: a small web server that says who it is.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	if err := serve(log); err != nil {
		log.Error("serving", "error", err)
		os.Exit(1)
	}
}

// serve answers on $PORT until SIGTERM, as the container contract asks.
func serve(log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{
		Addr:              ":" + port,
		Handler:           http.HandlerFunc(greet),
		ReadHeaderTimeout: 10 * time.Second,
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", server.Addr)
	if err != nil {
		return err
	}
	log.Info("listening", "port", port, "service", os.Getenv("K_SERVICE"), "revision", os.Getenv("K_REVISION"))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func greet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	greeting := os.Getenv("GREETING")
	if greeting == "" {
		greeting = "Hello"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	_, _ = fmt.Fprintf(w, "%s from %s, revision %s, on %s.\n", greeting, os.Getenv("K_SERVICE"), os.Getenv("K_REVISION"), host)
}
