package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

const (
	// metadataHost is where every instance has its metadata server (container
	// contract of Cloud Run), by its address: no name server can lead it elsewhere.
	metadataHost = "169.254.169.254"
	tokenPath    = "/computeMetadata/v1/instance/service-accounts/default/token"
	runAPI       = "https://run.googleapis.com"
	// emulatorVariable names a local Cloud Run, by host and port.
	emulatorVariable = "RUN_EMULATOR_HOST"
)

// A selfDeleter deletes the service that this instance is of.
type selfDeleter struct {
	client   *http.Client
	metadata string // base URL of the metadata server
	api      string // base URL of the Admin API
	resource string
}

// newSelfDeleter returns one for the settings, or nil if they name no service.
// environ is the agent's own environment.
func newSelfDeleter(settings Settings, environ []string) *selfDeleter {
	if settings.Resource == "" {
		return nil
	}
	d := &selfDeleter{
		// The environment's proxies are the app's; the token is not for them.
		client: &http.Client{Transport: &http.Transport{}}, metadata: "http://" + metadataHost, api: runAPI,
		resource: settings.Resource,
	}
	if host, _ := getenv(environ, emulatorVariable); emulatorOfInstance(host) {
		d.api = "http://" + host
	}
	return d
}

// emulatorOfInstance reports whether an emulator's address is one that only the
// instance's own emulator can have. A service may carry a RUN_EMULATOR_HOST of
// its own, left over from a test: that must never get a token.
func emulatorOfInstance(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != metadataHost {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// delete asks the platform to delete the service, with the rights that its
// service account happens to have. The answer is that the deletion began.
func (d *selfDeleter) delete(ctx context.Context) error {
	defer d.client.CloseIdleConnections()
	token, err := d.token(ctx)
	if err != nil {
		return fmt.Errorf("getting a token of the service account: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, d.api+"/v2/"+d.resource, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if _, err := d.do(req); err != nil {
		return fmt.Errorf("deleting %s: %w", d.resource, err)
	}
	return nil
}

func (d *selfDeleter) token(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.metadata+tokenPath, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	body, err := d.do(req)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
		return "", fmt.Errorf("the metadata server's answer holds no token")
	}
	return answer.Token, nil
}

// do returns the body of a successful answer, or the reason that another gives.
func (d *selfDeleter) do(req *http.Request) (body []byte, err error) {
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // all of it was read, or it is of no use
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return body, nil
	}
	var answer struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	reason := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &answer) == nil && answer.Error.Message != "" {
		reason = answer.Error.Message
	}
	return nil, fmt.Errorf("%s: %s", resp.Status, reason)
}
