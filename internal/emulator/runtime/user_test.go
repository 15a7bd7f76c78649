package runtime

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

const (
	testPasswd = "root:x:0:0:root:/root:/bin/sh\n# comment\nshort:x:1\nwww:x:33:34:www:/var/www:/bin/sh\n33:x:44:44::/home/33:\nbad:x:no:1::/:\nhomeless:x:50:50:::\n"
	testGroup  = "root:x:0:\nstaff:x:50:www,other\nwheel:x:10:www\nbad:x:no:\n"
)

func TestResolveUser(t *testing.T) {
	for spec, want := range map[string]identity{
		"":             {0, 0, []uint32{0}, "/root"},
		"0":            {0, 0, []uint32{0}, "/root"},
		"www":          {33, 34, []uint32{34, 50, 10}, "/var/www"},
		"33":           {44, 44, []uint32{44}, "/home/33"}, // a name comes before a number, as in Docker
		"www:staff":    {33, 50, []uint32{50}, "/var/www"},
		"www:7":        {33, 7, []uint32{7}, "/var/www"},
		"65532":        {65532, 0, []uint32{0}, "/"},
		"65532:65532":  {65532, 65532, []uint32{65532}, "/"},
		"1000:wheel":   {1000, 10, []uint32{10}, "/"},
		":staff":       {0, 50, []uint32{50}, "/root"},
		"homeless":     {50, 50, []uint32{50}, "/"},
		"4294967294:1": {4294967294, 1, []uint32{1}, "/"},
	} {
		got, err := resolveUser(spec, strings.NewReader(testPasswd), strings.NewReader(testGroup))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", spec, got, err, want)
		}
	}
}

func TestResolveUserErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"nobody":     `user "nobody" is not in /etc/passwd of the image`,
		"www:nobody": `group "nobody" is not in /etc/group of the image`,
		"bad":        `user "bad": /etc/passwd of the image gives no valid IDs: "bad:x:no:1::/:"`,
		"www:bad":    `group "bad": /etc/group of the image gives no valid ID: "bad:x:no:"`,
		"-1":         `user "-1" is not in /etc/passwd of the image`,
		"4294967295": `user "4294967295" is not in /etc/passwd of the image`,
		"www:":       `group "" is not in /etc/group of the image`,
	} {
		_, err := resolveUser(spec, strings.NewReader(testPasswd), strings.NewReader(testGroup))
		if err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", spec, err, want)
		}
	}
	var none io.Reader
	if _, err := resolveUser("www", none, none); err == nil || !strings.Contains(err.Error(), "has no /etc/passwd") {
		t.Errorf("without files: %v", err)
	}
	if _, err := resolveUser("1:www", none, none); err == nil || !strings.Contains(err.Error(), "has no /etc/group") {
		t.Errorf("without files: %v", err)
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add("www:staff", testPasswd, testGroup)
	f.Fuzz(func(_ *testing.T, spec, passwd, group string) {
		_, _ = resolveUser(spec, strings.NewReader(passwd), strings.NewReader(group))
	})
}
