package tool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// A fetcher is one run of fetch, curl or wget.
type fetcher struct {
	c    *Context
	o    options
	out  *output
	seen connection
}

// A connection is what -v and -w say of one.
type connection struct {
	started time.Time
	remote  string
	size    int64
}

// Exit statuses, as curl has them.
const (
	fetchScheme   = 1
	fetchURL      = 3
	fetchResolve  = 6
	fetchConnect  = 7
	fetchStatus   = 22
	fetchWrite    = 23
	fetchTime     = 28
	fetchTLS      = 35
	fetchRedirect = 47
	fetchTrust    = 60
)

func fetch(c *Context) int {
	o, ok := c.parse("X:H:d:o:OILksSfvim:u:A:e:b:w:r:x:T:GF:1:2:3:4:5:6:7:890Nq", "request=X", "header=H", "data=d", "data-raw=1",
		"data-binary=2", "data-urlencode=3", "output=o", "remote-name=O", "head=I", "location=L", "insecure=k", "silent=s",
		"show-error=S", "fail=f", "verbose=v", "include=i", "max-time=m", "user=u", "user-agent=A", "referer=e", "cookie=b",
		"write-out=w", "range=r", "proxy=x", "upload-file=T", "get=G", "form=F", "connect-timeout=4", "resolve=5",
		"unix-socket=6", "cacert=7", "compressed=8", "http1.1=9", "http2=0", "no-buffer=N")
	if !ok {
		return 2
	}
	if len(o.operands) == 0 {
		return c.Usage("an address is needed")
	}
	f := &fetcher{c: c, o: o, out: c.output()}
	client, err := f.client()
	if err != nil {
		return c.Usage("%s", err)
	}
	defer client.CloseIdleConnections()
	status := 0
	for _, address := range o.operands {
		f.seen = connection{started: time.Now()}
		if err := f.get(client, address); err != nil {
			status = fetchCode(err)
			if !o.has("s") || o.has("S") {
				f.out.flush()
				c.Errorf("%s", fetchReason(err))
			}
		}
	}
	return f.out.done(status)
}

// client is made for one run: it takes proxies from the session's environment.
func (f *fetcher) client() (*http.Client, error) {
	t := &http.Transport{
		ForceAttemptHTTP2:  !f.o.has("9"),
		DisableCompression: !f.o.has("8"),
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: f.o.has("k"), MinVersion: tls.VersionTLS12}, //nolint:gosec // -k asks for it
	}
	if file := f.o.value('7'); file != "" {
		pem, err := os.ReadFile(f.c.Path(file))
		if err != nil {
			return nil, fmt.Errorf("%s: %s", file, reason(err))
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificates", file)
		}
	}
	either := func(name string) string {
		if v := f.c.Env(name); v != "" {
			return v
		}
		return f.c.Env(strings.ToUpper(name))
	}
	proxies := httpproxy.Config{HTTPProxy: f.c.Env("http_proxy"), HTTPSProxy: either("https_proxy"), NoProxy: either("no_proxy")}
	if f.o.has("x") {
		proxies = httpproxy.Config{HTTPProxy: f.o.value('x'), HTTPSProxy: f.o.value('x')}
	}
	find := proxies.ProxyFunc()
	t.Proxy = func(r *http.Request) (*url.URL, error) { return find(r.URL) }
	connect := 2 * time.Minute
	if f.o.has("4") {
		var err error
		if connect, err = duration(f.o.value('4')); err != nil {
			return nil, errors.New("--connect-timeout needs a time")
		}
	}
	t.DialContext = f.dial(&net.Dialer{Timeout: connect})
	client := &http.Client{Transport: t}
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if !f.o.has("L") {
			return http.ErrUseLastResponse
		}
		if len(via) >= 50 {
			return errRedirects
		}
		if f.o.has("iIv") {
			f.headers(r.Response)
		}
		if !f.o.has("e") {
			r.Header.Del("Referer") // unlike a browser, curl does not say where it comes from
		}
		return nil
	}
	return client, nil
}

var errScheme = errors.New("only http and https are spoken here")

var errRedirects = errors.New("it redirects again and again")

// dial connects to where --resolve and --unix-socket say, else to the address.
func (f *fetcher) dial(d *net.Dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for _, r := range f.o.values('5') { // HOST:PORT:ADDRESS
			parts := strings.SplitN(r, ":", 3)
			if len(parts) == 3 && address == parts[0]+":"+parts[1] {
				address = net.JoinHostPort(strings.Trim(parts[2], "[]"), parts[1])
			}
		}
		if socket := f.o.value('6'); socket != "" {
			network, address = "unix", f.c.Path(socket)
		}
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			f.seen.remote = conn.RemoteAddr().String()
			f.verbose("* connected to %s\n", f.seen.remote)
		}
		return conn, err
	}
}

func (f *fetcher) verbose(format string, args ...any) {
	if f.o.has("v") {
		f.c.complain(format, args...)
	}
}

func (f *fetcher) get(client *http.Client, address string) error {
	ctx := f.c.Context
	if f.o.has("m") {
		limit, err := duration(f.o.value('m'))
		if err != nil {
			return errors.New("-m needs a time")
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	r, err := f.request(ctx, address)
	if err != nil {
		return err
	}
	f.verbose("> %s %s\n> Host: %s\n", r.Method, r.URL.RequestURI(), r.Host)
	f.list("> ", r.Header)
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // all of it was read, or it is of no use
	if f.o.has("iIv") {
		f.headers(resp)
	}
	if f.o.has("f") && resp.StatusCode >= 400 {
		f.written(resp)
		return statusError(resp.Status)
	}
	if err := f.body(resp); err != nil {
		return err
	}
	f.written(resp)
	return nil
}

// A statusError is an answer that -f takes for a failure.
type statusError string

func (e statusError) Error() string { return "the server answered " + string(e) }

func (f *fetcher) list(prefix string, h http.Header) {
	if !f.o.has("v") {
		return
	}
	for _, line := range headerLines(h) {
		f.c.complain("%s%s\n", prefix, line)
	}
	f.c.complain("%s\n", strings.TrimSpace(prefix))
}

func headerLines(h http.Header) []string {
	var all []string
	for name, values := range h {
		for _, v := range values {
			all = append(all, name+": "+v)
		}
	}
	slices.Sort(all)
	return all
}

// headers shows those of an answer: with -i and -I as a part of it.
func (f *fetcher) headers(resp *http.Response) {
	f.verbose("< %s %s\n", resp.Proto, resp.Status)
	f.list("< ", resp.Header)
	if f.o.has("iI") {
		f.out.text(resp.Proto + " " + resp.Status + "\r\n" + strings.Join(append(headerLines(resp.Header), "", ""), "\r\n"))
	}
}

// body writes what was answered to Stdout or to a file.
func (f *fetcher) body(resp *http.Response) (err error) {
	name := f.o.value('o')
	if f.o.has("O") {
		if name = path.Base(resp.Request.URL.Path); name == "/" || name == "." {
			name = "index.html"
		}
	}
	var to io.Writer = f.out
	if name != "" && name != "-" {
		file, err := os.Create(f.c.Path(name))
		if err != nil {
			return writeError{err}
		}
		defer func() {
			if cerr := file.Close(); cerr != nil && err == nil {
				err = writeError{cerr}
			}
		}()
		to = file
	}
	buf := make([]byte, chunk)
	for {
		n, err := resp.Body.Read(buf)
		f.seen.size += int64(n)
		if _, werr := to.Write(buf[:n]); werr != nil {
			return writeError{werr}
		}
		if f.out.flush(); f.out.failed() { // each part is seen when it comes: some answers never end
			return writeError{f.out.err}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A writeError is a failure on this side.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

// written is -w.
func (f *fetcher) written(resp *http.Response) {
	text := f.o.value('w')
	host, port, _ := net.SplitHostPort(f.seen.remote) // they are empty then
	for name, value := range map[string]string{
		"http_code": fmt.Sprintf("%03d", resp.StatusCode), "response_code": fmt.Sprintf("%03d", resp.StatusCode),
		"size_download": fmt.Sprint(f.seen.size), "time_total": fmt.Sprintf("%.6f", time.Since(f.seen.started).Seconds()),
		"url_effective": resp.Request.URL.String(), "content_type": resp.Header.Get("Content-Type"), "remote_ip": host,
		"remote_port": port, "redirect_url": resp.Header.Get("Location"), "http_version": strings.TrimPrefix(resp.Proto, "HTTP/"),
		"method": resp.Request.Method, "num_headers": fmt.Sprint(len(resp.Header)),
	} {
		text = strings.ReplaceAll(text, "%{"+name+"}", value)
	}
	f.out.text(strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", "%%", "%").Replace(text))
}

// request makes the one that the flags describe.
func (f *fetcher) request(ctx context.Context, address string) (*http.Request, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, urlError("not an address: " + address)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errScheme
	}
	body, kind, err := f.content()
	if err != nil {
		return nil, err
	}
	method := http.MethodGet
	switch {
	case f.o.has("G") && body != nil:
		query, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		u.RawQuery = strings.Trim(u.RawQuery+"&"+string(query), "&")
		body, kind = nil, ""
	case f.o.has("T"):
		method = http.MethodPut
	case body != nil:
		method = http.MethodPost
	}
	if f.o.has("I") {
		method = http.MethodHead
	}
	if f.o.has("X") {
		method = f.o.value('X')
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, urlError(err.Error())
	}
	f.setHeaders(r, kind)
	return r, nil
}

// An urlError is an address that is none.
type urlError string

func (e urlError) Error() string { return string(e) }

func (f *fetcher) setHeaders(r *http.Request, kind string) {
	r.Header.Set("User-Agent", "fetch/1.0")
	r.Header.Set("Accept", "*/*")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for flag, name := range map[byte]string{'A': "User-Agent", 'e': "Referer", 'b': "Cookie"} {
		if f.o.has(string(flag)) {
			r.Header.Set(name, f.o.value(flag))
		}
	}
	if f.o.has("r") {
		r.Header.Set("Range", "bytes="+f.o.value('r'))
	}
	user := f.o.value('u')
	if user == "" && r.URL.User != nil {
		password, _ := r.URL.User.Password()
		user = r.URL.User.Username() + ":" + password
	}
	if user != "" {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	for _, h := range f.o.values('H') {
		name, value, _ := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.HasSuffix(h, ";"):
			r.Header.Set(strings.TrimSuffix(name, ";"), "")
		case value == "":
			r.Header.Del(name)
			if strings.EqualFold(name, "User-Agent") {
				r.Header["User-Agent"] = nil
			}
		case strings.EqualFold(name, "Host"):
			r.Host = value
		default:
			r.Header.Add(name, value)
			if all := r.Header.Values(name); len(all) > 1 && slices.Contains([]string{"User-Agent", "Accept", "Content-Type"}, http.CanonicalHeaderKey(name)) {
				r.Header.Set(name, value)
			}
		}
	}
}
