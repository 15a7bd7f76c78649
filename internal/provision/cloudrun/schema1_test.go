package cloudrun

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestSchema1Config(t *testing.T) {
	config, err := schema1Config([]byte(`{"architecture":"amd64","history":[
		{"v1Compatibility":"{\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"/app\"],\"User\":\"65532\",\"WorkingDir\":\"/srv\"}}"},
		{"v1Compatibility":"{\"config\":{\"Entrypoint\":[\"/of-the-base\"]}}"}]}`))
	want := &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", Config: v1.Config{Entrypoint: []string{"/app"}, User: "65532", WorkingDir: "/srv"},
	}
	if diff := cmp.Diff(want, config); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, bad := range []string{"", "[]", "{}", `{"history":[]}`, `{"history":[{}]}`, `{"history":[{"v1Compatibility":"[]"}]}`} {
		if config, err := schema1Config([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, config)
		}
	}
}

// Manifests are the registry's: whatever they hold, there is a config or an error.
func FuzzSchema1Config(f *testing.F) {
	f.Add([]byte(`{"history":[{"v1Compatibility":"{\"config\":{\"Cmd\":[\"/app\"]}}"}]}`))
	f.Add([]byte(`{"history":[{"v1Compatibility":"null"}]}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		if config, err := schema1Config(manifest); (config == nil) == (err == nil) {
			t.Errorf("%+v, %v", config, err)
		}
	})
}
