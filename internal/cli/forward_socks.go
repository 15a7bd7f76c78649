package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What SOCKS has for numbers: RFC 1928, and for version 4 with its extension 4A
// https://www.openssh.com/txt/socks4.protocol and socks4a.protocol.
const (
	socks4, socks5 = 4, 5

	socksConnect = 1

	socksNoAuth       = 0
	socksNoAcceptable = 0xff

	socksIPv4, socksName, socksIPv6 = 1, 3, 4

	socks4Granted, socks4Refused = 90, 91

	socks4MaxText = 255 // bytes of a user or a name; the protocol sets no limit
)

// The answers of version 5.
const (
	socksSucceeded           = 0
	socksFailed              = 1
	socksNotAllowed          = 2
	socksNetworkUnreachable  = 3
	socksHostUnreachable     = 4
	socksConnectionRefused   = 5
	socksCommandNotSupported = 7
	socksAddressNotSupported = 8
)

// socksRequest is what a client asks for.
type socksRequest struct {
	version byte
	address string // HOST:PORT
}

// readSOCKS reads a client's request to connect, and answers one that cannot be
// served. It reads no byte beyond it: those are for the target.
func readSOCKS(conn io.ReadWriter) (*socksRequest, error) {
	var version [1]byte
	if _, err := io.ReadFull(conn, version[:]); err != nil {
		return nil, fmt.Errorf("reading a SOCKS request: %w", err)
	}
	var (
		address string
		err     error
	)
	switch version[0] {
	case socks4:
		address, err = readSOCKS4(conn)
	case socks5:
		address, err = readSOCKS5(conn)
	default:
		return nil, fmt.Errorf("reading a SOCKS request: version %d is not known", version[0])
	}
	if err != nil {
		return nil, fmt.Errorf("reading a SOCKS %d request: %w", version[0], err)
	}
	return &socksRequest{version: version[0], address: address}, nil
}

// answer tells the client what came of its request.
func (r *socksRequest) answer(w io.Writer, code byte) error {
	if r.version == socks4 {
		status := byte(socks4Granted)
		if code != socksSucceeded {
			status = socks4Refused
		}
		return answerSOCKS4(w, status)
	}
	return answerSOCKS5(w, code)
}

func answerSOCKS4(w io.Writer, status byte) error {
	_, err := w.Write([]byte{0, status, 0, 0, 0, 0, 0, 0})
	return err
}

// answerSOCKS5 does not tell the address that was bound: that is the agent's.
func answerSOCKS5(w io.Writer, code byte) error {
	_, err := w.Write([]byte{socks5, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

func readSOCKS4(conn io.ReadWriter) (address string, err error) {
	var head [7]byte // command, port, address
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", unexpectedEnd(err)
	}
	if _, err := readText(conn); err != nil { // the user's name
		return "", err
	}
	port, ip := binary.BigEndian.Uint16(head[1:]), netip.AddrFrom4([4]byte(head[3:]))
	host := ip.String()
	if strings.HasPrefix(host, "0.0.0.") && host != "0.0.0.0" { // 4A: a name follows
		if host, err = readText(conn); err != nil {
			return "", err
		}
	}
	if head[0] != socksConnect {
		return "", errors.Join(fmt.Errorf("command %d is not supported", head[0]), answerSOCKS4(conn, socks4Refused))
	}
	address, err = socksAddress(host, port)
	if err != nil {
		return "", errors.Join(err, answerSOCKS4(conn, socks4Refused))
	}
	return address, nil
}

// readText reads up to a NUL, byte by byte: what follows is not ours.
func readText(r io.Reader) (string, error) {
	var text []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", unexpectedEnd(err)
		}
		switch {
		case b[0] == 0:
			return string(text), nil
		case len(text) == socks4MaxText:
			return "", fmt.Errorf("a text of more than %d bytes", socks4MaxText)
		}
		text = append(text, b[0])
	}
}

func readSOCKS5(conn io.ReadWriter) (address string, err error) {
	methods, err := readCounted(conn)
	if err != nil {
		return "", err
	}
	if !strings.ContainsRune(methods, socksNoAuth) {
		_, err := conn.Write([]byte{socks5, socksNoAcceptable})
		return "", errors.Join(errors.New("the client wants to log in, which is not supported"), err)
	}
	if _, err := conn.Write([]byte{socks5, socksNoAuth}); err != nil {
		return "", err
	}
	var head [4]byte // version, command, reserved, kind of address
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return "", unexpectedEnd(err)
	}
	if head[0] != socks5 {
		return "", fmt.Errorf("it goes on as version %d", head[0])
	}
	host, err := readSOCKS5Host(conn, head[3])
	if err != nil {
		return "", err
	}
	var port [2]byte
	if _, err := io.ReadFull(conn, port[:]); err != nil {
		return "", unexpectedEnd(err)
	}
	if head[1] != socksConnect {
		return "", errors.Join(fmt.Errorf("command %d is not supported", head[1]), answerSOCKS5(conn, socksCommandNotSupported))
	}
	address, err = socksAddress(host, binary.BigEndian.Uint16(port[:]))
	if err != nil {
		return "", errors.Join(err, answerSOCKS5(conn, socksFailed))
	}
	return address, nil
}

func readSOCKS5Host(conn io.ReadWriter, kind byte) (host string, err error) {
	switch kind {
	case socksIPv4:
		var ip [4]byte
		_, err = io.ReadFull(conn, ip[:])
		return netip.AddrFrom4(ip).String(), unexpectedEnd(err)
	case socksIPv6:
		var ip [16]byte
		_, err = io.ReadFull(conn, ip[:])
		return netip.AddrFrom16(ip).String(), unexpectedEnd(err)
	case socksName:
		return readCounted(conn)
	}
	return "", errors.Join(fmt.Errorf("addresses of kind %d are not known", kind), answerSOCKS5(conn, socksAddressNotSupported))
}

// readCounted reads a text that follows its length.
func readCounted(r io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", unexpectedEnd(err)
	}
	text := make([]byte, n[0])
	_, err := io.ReadFull(r, text)
	return string(text), unexpectedEnd(err)
}

// socksAddress joins what was read to an address to dial. Characters that cannot
// be seen are in no name, and must not reach a log or a terminal.
func socksAddress(host string, port uint16) (string, error) {
	odd := func(r rune) bool { return r == ' ' || r == utf8.RuneError || !unicode.IsGraphic(r) }
	if host == "" || port == 0 || strings.ContainsFunc(host, odd) {
		return "", fmt.Errorf("there is no address %q, port %d", host, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// socksCode is the answer for what came of connecting. The reasons are words:
// SSH has no codes for them, and those of the agent are the system's.
func socksCode(reason string, prohibited bool) byte {
	has := func(text string) bool { return strings.Contains(strings.ToLower(reason), text) }
	switch {
	case prohibited:
		return socksNotAllowed
	case has("no such host"), has("looking up"), has("no route to host"), has("timed out"):
		return socksHostUnreachable
	case has("refused"):
		return socksConnectionRefused
	case has("network is unreachable"):
		return socksNetworkUnreachable
	}
	return socksFailed
}
