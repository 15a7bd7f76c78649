package tool

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime/multipart"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// content is what is sent, nil for nothing, and of which type it is.
func (f *fetcher) content() (io.Reader, string, error) {
	if name := f.o.value('T'); name != "" {
		r, err := f.c.open(name)
		if err != nil {
			return nil, "", errors.New(name + ": " + reason(err))
		}
		defer closeRead(r)
		text, err := io.ReadAll(r)
		return bytes.NewReader(text), "", err
	}
	if f.o.has("F") {
		return f.form()
	}
	if !f.o.has("d123") {
		return nil, "", nil
	}
	var parts []string
	for _, g := range f.o.given {
		var text string
		var err error
		switch g.flag {
		case 'd', '2':
			text, err = f.data(g.value)
			if g.flag == 'd' && strings.HasPrefix(g.value, "@") {
				text = strings.NewReplacer("\n", "", "\r", "").Replace(text)
			}
		case '1':
			text = g.value
		case '3':
			text, err = f.encoded(g.value)
		default:
			continue
		}
		if err != nil {
			return nil, "", err
		}
		parts = append(parts, text)
	}
	return strings.NewReader(strings.Join(parts, "&")), "application/x-www-form-urlencoded", nil
}

// data is a text, or with @ the contents of a file.
func (f *fetcher) data(s string) (string, error) {
	name, ok := strings.CutPrefix(s, "@")
	if !ok {
		return s, nil
	}
	r, err := f.c.open(name)
	if err != nil {
		return "", errors.New(name + ": " + reason(err))
	}
	defer closeRead(r)
	text, err := io.ReadAll(r)
	return string(text), err
}

// encoded is --data-urlencode: TEXT, NAME=TEXT, @FILE or NAME@FILE.
func (f *fetcher) encoded(s string) (string, error) {
	at := strings.IndexAny(s, "=@")
	name, value := "", s
	if at >= 0 {
		name, value = s[:at], s[at+1:]
		if s[at] == '@' {
			text, err := f.data("@" + value)
			if err != nil {
				return "", err
			}
			value = text
		}
	}
	value = url.QueryEscape(value)
	if name != "" {
		return name + "=" + value, nil
	}
	return value, nil
}

// form is -F NAME=TEXT and NAME=@FILE.
func (f *fetcher) form() (io.Reader, string, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range f.o.values('F') {
		name, value, _ := strings.Cut(field, "=")
		file, ok := strings.CutPrefix(value, "@")
		if !ok {
			if err := w.WriteField(name, value); err != nil {
				return nil, "", err
			}
			continue
		}
		file, _, _ = strings.Cut(file, ";")
		text, err := os.ReadFile(f.c.Path(file))
		if err != nil {
			return nil, "", errors.New(file + ": " + reason(err))
		}
		part, err := w.CreateFormFile(name, filepath.Base(file))
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(text); err != nil {
			return nil, "", err
		}
	}
	return &b, w.FormDataContentType(), w.Close()
}

// fetchCode is the exit status for a failure, as curl has it.
func fetchCode(err error) int {
	var status statusError
	var bad urlError
	var write writeError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &status):
		return fetchStatus
	case errors.Is(err, errScheme):
		return fetchScheme
	case errors.As(err, &bad):
		return fetchURL
	case errors.As(err, &write):
		return fetchWrite
	case errors.Is(err, errRedirects):
		return fetchRedirect
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fetchTime
	case errors.As(err, &dns):
		return fetchResolve
	case untrusted(err):
		return fetchTrust
	case errors.As(err, &op) && op.Op == "dial":
		return fetchConnect
	case strings.Contains(err.Error(), "tls: "):
		return fetchTLS
	}
	return 56 // receiving failed
}

func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var roots x509.SystemRootsError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &roots) || errors.As(err, &verify)
}

// fetchReason is what users are told.
func fetchReason(err error) string {
	var u *url.Error
	text := err.Error()
	if errors.As(err, &u) {
		text = u.URL + ": " + u.Err.Error()
	}
	if untrusted(err) {
		text += " (many small images have no CA certificates: --cacert FILE names some, -k does without)"
	}
	return text
}

// wget is fetch with wget's flags.
func wget(c *Context) int {
	o, ok := c.parse("qO:ScT:P:U:nv1:2:34567:", "quiet=q", "output-document=O", "server-response=S", "continue=c", "timeout=T", "directory-prefix=P",
		"user-agent=U", "header=1", "post-data=2", "no-check-certificate=3", "spider=4", "no-verbose=5", "no-clobber=6", "method=7", "verbose=v")
	if !ok {
		return 2
	}
	args := []string{c.Args[0], "-L", "-f", "-s", "-S"}
	for _, g := range o.given {
		switch g.flag {
		case 'S':
			args = append(args, "-v")
		case 'T':
			args = append(args, "-m", g.value)
		case 'U':
			args = append(args, "-A", g.value)
		case '1':
			args = append(args, "-H", g.value)
		case '2':
			args = append(args, "-d", g.value)
		case '3':
			args = append(args, "-k")
		case '4':
			args = append(args, "-I", "-o", "/dev/null")
		case '7':
			args = append(args, "-X", g.value)
		}
	}
	n := *c
	switch {
	case o.has("4"):
		n.Stdout = io.Discard
	case o.has("O"):
		args = append(args, "-o", o.value('O'))
	default:
		args = append(args, "-O")
	}
	if o.has("P") {
		n.Dir = c.Path(o.value('P'))
	}
	n.Args = append(append(args, "--"), o.operands...)
	switch fetch(&n) {
	case 0:
		return 0
	case 2:
		return 2
	case fetchWrite:
		return 3
	case fetchTLS, fetchTrust:
		return 5
	case fetchStatus:
		return 8
	}
	return 4 // the network
}
