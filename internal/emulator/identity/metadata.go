package identity

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	flavorHeader = "Metadata-Flavor"
	flavor       = "Google"
	cloudScope   = "https://www.googleapis.com/auth/cloud-platform"
)

// MetadataConfig is what a metadata server knows.
type MetadataConfig struct {
	Issuer         *Issuer
	Project        string // id
	ProjectNumber  string
	Region         string // e.g. us-central1
	InstanceID     string // opaque
	ServiceAccount string // email of the identity; empty = none
}

// MetadataHandler is the metadata server that instances reach as
// http://metadata.google.internal and http://169.254.169.254, version v1, with
// what Cloud Run has of it (https://docs.cloud.google.com/run/docs/container-contract).
// It serves the client's own listener (GCE_METADATA_HOST) alike.
func MetadataHandler(cfg MetadataConfig) http.Handler {
	m := &metadata{MetadataConfig: cfg}
	root := m.tree()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(flavorHeader, flavor)
		w.Header().Set("Server", "Metadata Server for Serverless")
		if reason := refusal(r); reason != "" {
			http.Error(w, reason, http.StatusForbidden)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		serveNode(w, r, root)
	})
}

// refusal keeps out what a server-side request forgery could send: requests
// without the header, and forwarded ones. The bare probe "is this a metadata
// server" needs no header. It returns the reason, or nothing.
func refusal(r *http.Request) string {
	switch {
	case r.Header.Get("X-Forwarded-For") != "":
		return "Requests with X-Forwarded-For are refused."
	case r.URL.Path != "/" && r.Header.Get(flavorHeader) != flavor:
		return "Missing required header: " + flavorHeader
	}
	return ""
}

type metadata struct{ MetadataConfig }

// A node of the tree is a dir, a string, a list or an action.
type (
	dir    map[string]any
	list   []string
	number string                                                       // a string in text, a number in JSON
	action func(query url.Values) (contentType, body string, err error) // not part of recursive answers
)

func (m *metadata) tree() dir {
	accounts := dir{}
	if m.ServiceAccount != "" {
		account := dir{
			"aliases":  list{"default"},
			"email":    m.ServiceAccount,
			"scopes":   list{cloudScope, "https://www.googleapis.com/auth/userinfo.email", "openid"},
			"token":    action(m.token),
			"identity": action(m.identity),
		}
		accounts["default"], accounts[m.ServiceAccount] = account, account
	}
	project := "projects/" + m.ProjectNumber
	return dir{"computeMetadata": dir{"v1": dir{
		"project": dir{
			"project-id":         m.Project,
			"numeric-project-id": number(m.ProjectNumber),
			"attributes":         dir{},
		},
		"instance": dir{
			"id":               m.InstanceID,
			"region":           project + "/regions/" + m.Region,
			"zone":             project + "/zones/" + m.Region + "-1",
			"attributes":       dir{},
			"service-accounts": accounts,
		},
		"universe": dir{"universe-domain": "googleapis.com"},
	}}}
}

func (m *metadata) token(url.Values) (contentType, body string, err error) {
	access, expires := m.Issuer.AccessToken(m.ServiceAccount)
	return "application/json", fmt.Sprintf(`{"access_token":%q,"expires_in":%d,"token_type":"Bearer"}`,
		access, m.Issuer.secondsTo(expires)), nil
}

func (m *metadata) identity(query url.Values) (contentType, body string, err error) {
	audience := query.Get("audience")
	if audience == "" {
		return "", "", badRequest("non-empty audience parameter required")
	}
	claims := m.Issuer.claims(m.ServiceAccount, audience)
	if query.Get("format") != "full" {
		body, err = m.Issuer.sign(claims)
		return "text/html", body, err
	}
	body, err = m.Issuer.sign(struct {
		Claims
		Google any `json:"google"`
	}{claims, map[string]any{"compute_engine": map[string]string{
		"project_id": m.Project, "zone": m.Region + "-1", "instance_id": m.InstanceID,
	}}})
	return "text/html", body, err
}

// badRequest is an action's error that is the caller's fault.
type badRequest string

func (e badRequest) Error() string { return string(e) }

func serveNode(w http.ResponseWriter, r *http.Request, root dir) {
	var node any = root
	for part := range strings.SplitSeq(strings.Trim(r.URL.Path, "/"), "/") {
		if part == "" {
			break
		}
		d, _ := node.(dir)
		child, found := d[part]
		if !found {
			http.NotFound(w, r)
			return
		}
		node = child
	}
	if _, isDir := node.(dir); isDir && !strings.HasSuffix(r.URL.Path, "/") {
		target := url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, target.String(), http.StatusMovedPermanently)
		return
	}
	query := r.URL.Query()
	recursive := strings.EqualFold(query.Get("recursive"), "true")
	if run, isAction := node.(action); isAction {
		serveAction(w, run, query)
		return
	}
	if query.Get("alt") == "json" || recursive && query.Get("alt") != "text" {
		writeJSON(w, http.StatusOK, jsonOf(node, recursive))
		return
	}
	w.Header().Set("Content-Type", "application/text")
	_, _ = w.Write([]byte(textOf(node, recursive, ""))) // fails only when the caller has gone
}

func serveAction(w http.ResponseWriter, run action, query url.Values) {
	contentType, body, err := run(query)
	var bad badRequest
	switch {
	case errors.As(err, &bad):
		http.Error(w, bad.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body)) // fails only when the caller has gone
	}
}

// textOf is a value, the lines of a list, or the names in a directory; with
// recursive, every value below with its path.
func textOf(node any, recursive bool, prefix string) string {
	switch n := node.(type) {
	case string:
		return n
	case number:
		return string(n)
	case list:
		return strings.Join(n, "\n") + "\n"
	}
	d, _ := node.(dir)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d)) {
		child, isDir := d[name].(dir)
		switch {
		case recursive && isDir:
			b.WriteString(textOf(child, true, prefix+name+"/"))
		case recursive:
			if _, isAction := d[name].(action); !isAction {
				fmt.Fprintf(&b, "%s%s %s\n", prefix, name, strings.TrimSuffix(textOf(d[name], false, ""), "\n"))
			}
		case isDir:
			b.WriteString(name + "/\n")
		default:
			b.WriteString(name + "\n")
		}
	}
	return b.String()
}

// jsonOf is the node as the server's alt=json has it: names in camel case, and a
// directory without recursive as its names.
func jsonOf(node any, recursive bool) any {
	switch n := node.(type) {
	case number:
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return i
		}
		return string(n)
	case dir:
		if !recursive {
			return strings.Fields(textOf(n, false, ""))
		}
		all := map[string]any{}
		for name, child := range n {
			if _, isAction := child.(action); !isAction {
				all[camel(name)] = jsonOf(child, true)
			}
		}
		return all
	}
	return node
}

// camel makes serviceAccounts of service-accounts; emails stay what they are.
func camel(name string) string {
	if strings.Contains(name, "@") {
		return name
	}
	words := strings.Split(name, "-")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}
