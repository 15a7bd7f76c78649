package transport

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAttachRoundTrip(t *testing.T) {
	a := attach{id: streamID{1, 2, 15: 3}, epoch: 1 << 30, received: 1<<60 + 7, consumed: 5, window: maxWindow}
	a.prove(streamKey{9})
	if got, err := parseAttach(a.bytes()); err != nil || got != a {
		t.Errorf("attach came back as %+v, %v", got, err)
	}
	answer := attached{
		status: attachStale, epoch: 7, received: 1 << 40, consumed: 2, window: 3,
		rollover: 59 * time.Minute, timeout: time.Hour, keep: 24 * time.Hour,
	}
	if got, err := parseAttached(answer.bytes()); err != nil || got != answer {
		t.Errorf("attached came back as %+v, %v", got, err)
	}
	answer.created, answer.id, answer.key = true, streamID{4}, streamKey{5}
	if got, err := parseAttached(answer.bytes()); err != nil || got != answer {
		t.Errorf("attached came back as %+v, %v", got, err)
	}
}

// A proof is good for what it was made for.
func TestProof(t *testing.T) {
	key := streamKey{1}
	good := attach{id: streamID{1}, epoch: 2, received: 3, consumed: 3, window: 4}
	good.prove(key)
	if !good.proven(key) {
		t.Fatal("the right proof is wrong")
	}
	if good.proven(streamKey{2}) {
		t.Error("any key will do")
	}
	for name, change := range map[string]func(*attach){
		"id":       func(a *attach) { a.id[0]++ },
		"epoch":    func(a *attach) { a.epoch++ },
		"received": func(a *attach) { a.received++ },
		"consumed": func(a *attach) { a.consumed-- },
		"window":   func(a *attach) { a.window++ },
		"proof":    func(a *attach) { a.proof[31]++ },
	} {
		bad := good
		if change(&bad); bad.proven(key) {
			t.Errorf("the proof holds with another %s", name)
		}
	}
}

func TestPrincipal(t *testing.T) {
	token := func(claims string) string {
		return "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".SIGNATURE_REMOVED_BY_GOOGLE"
	}
	for name, tt := range map[string]struct {
		header http.Header
		want   string
	}{
		"none":         {http.Header{}, ""},
		"both":         {http.Header{"Authorization": {token(`{"email":"b@x"}`)}, "X-Serverless-Authorization": {token(`{"email":"a@x"}`)}}, "a@x"},
		"one":          {http.Header{"Authorization": {token(`{"email":"b@x","aud":["y"]}`)}}, "b@x"},
		"lower case":   {http.Header{"Authorization": {strings.Replace(token(`{"email":"b@x"}`), "Bearer", "bearer", 1)}}, "b@x"},
		"no e-mail":    {http.Header{"Authorization": {token(`{"sub":"1"}`)}}, ""},
		"no JSON":      {http.Header{"Authorization": {token(`{"email`)}}, ""},
		"no token":     {http.Header{"Authorization": {"Basic YTpi"}}, ""},
		"no base64":    {http.Header{"Authorization": {"Bearer a.!.c"}}, ""},
		"far too long": {http.Header{"Authorization": {token(`{"email":"` + strings.Repeat("a", maxToken) + `"}`)}}, ""},
	} {
		if got := principalOf(tt.header); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// A stream belongs to an account as well as to a key.
func TestPrincipalIsBound(t *testing.T) { synctest.Test(t, principalIsBound) }

func principalIsBound(t *testing.T) {
	t.Helper()
	_, l, e := network(t)
	account := "a@x"
	e.Header = func(context.Context) (http.Header, error) {
		claims := base64.RawURLEncoding.EncodeToString([]byte(`{"email":"` + account + `"}`))
		return http.Header{"X-Serverless-Authorization": {"Bearer e30." + claims + ".x"}}, nil
	}
	client, server := pair(t, l, e)
	if got := server.(*Conn).Principal(); got != "a@x" {
		t.Errorf("the principal is %q", got)
	}
	synctest.Wait()
	account = "b@x"
	unplug(client)
	var final *FinalError
	if _, err := client.Read(make([]byte, 1)); !errors.As(err, &final) || final.Reason != BadProof {
		t.Errorf("another account resumed: %v", err)
	}
}
