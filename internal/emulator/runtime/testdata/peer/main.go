// Command peer is what the tests run in containers that speak TCP.
//
//	peer serve ADDRESS       echoes what it gets, its end included; says "ready" when it listens
//	peer ask ADDRESS TEXT    sends the text and its end, prints the answer
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if args[0] == "serve" {
		return serve(args[1])
	}
	c, err := net.Dial("tcp", args[1])
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, args[2]); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}

func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}
