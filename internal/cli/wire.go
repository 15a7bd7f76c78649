package cli

import "github.com/cloudssh/cloudssh/internal/transport"

// wireFlag is --wire.
type wireFlag struct{ transport.Wire }

// Type is what help shows for the value.
func (f *wireFlag) Type() string { return "auto|websocket|http" }

// Set reads the flag.
func (f *wireFlag) Set(value string) (err error) {
	f.Wire, err = transport.ParseWire(value)
	return err
}
