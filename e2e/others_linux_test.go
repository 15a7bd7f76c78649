package e2e

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// proxy is the ProxyCommand for clients that do not read OpenSSH's
// configuration. They write below their HOME, so that each has one of its own;
// cloudssh has the user's.
func (p *platform) proxy(service string) string {
	home := strings.TrimPrefix(p.env[0], "HOME=")
	return "env HOME=" + home + " cloudssh proxy " + service
}

// identity is the user's private key, as the clients see it.
func (p *platform) identity() string {
	return filepath.Join(strings.TrimPrefix(p.env[0], "HOME="), ".config", "cloudssh", "id_ed25519")
}

// hostKey is the known host key of a host.
func (p *platform) hostKey(t *testing.T, host string) string {
	t.Helper()
	for line := range strings.Lines(string(read(t, filepath.Join(p.home, ".config", "cloudssh", "known_hosts")))) {
		if key, ok := strings.CutPrefix(line, host+" "); ok {
			return key
		}
	}
	t.Fatalf("%s is not among the known hosts", host)
	return ""
}

func (p *platform) testDropbear(t *testing.T) {
	home := p.folder(t)
	key := filepath.Join(home, "id_dropbear")
	p.run(t, "dropbearconvert", "openssh", "dropbear", p.identity(), key).expect(t, 0)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, ".ssh", "known_hosts"), []byte("hello "+p.hostKey(t, hello)))
	dbclient := func(stdin string, command ...string) result {
		args := append([]string{"HOME=" + home, "dbclient", "-i", key, "-J", p.proxy("hello"), "cloudssh@hello"}, command...)
		return p.runWith(t, strings.NewReader(stdin), "env", args...)
	}
	r := dbclient("", "echo out; echo err >&2; exit 7").expect(t, 7)
	if r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	b := string(noise(3, 4<<20))
	dbclient(b, "sha256sum").expectOut(t, checksum([]byte(b))+"  -\n")
	dbclient("echo $((6*7)); exit 3\n", "-T").expect(t, 3).expectSaid(t, "42\n")
	// A wrong host key is refused.
	write(t, filepath.Join(home, ".ssh", "known_hosts"), []byte("hello ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"))
	dbclient("", "true").expect(t, 1).expectSaid(t, "mismatch")
}

func (p *platform) testPutty(t *testing.T) {
	dir := p.folder(t)
	key := filepath.Join(dir, "key.ppk")
	p.run(t, "puttygen", p.identity(), "-O", "private", "-o", key).expect(t, 0)
	write(t, filepath.Join(dir, "host"), []byte(p.hostKey(t, hello)))
	fingerprint := strings.Fields(p.run(t, "ssh-keygen", "-lf", filepath.Join(dir, "host")).expect(t, 0).stdout)[1]
	putty := func(stdin, program string, args ...string) result {
		args = append([]string{"HOME=" + dir, program, "-batch", "-i", key, "-proxycmd", p.proxy("hello"), "-hostkey", fingerprint}, args...)
		return p.runWith(t, strings.NewReader(stdin), "env", args...)
	}
	r := putty("", "plink", "-no-antispoof", "cloudssh@hello", "echo out; echo err >&2; exit 7").expect(t, 7)
	if r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	b := noise(4, 4<<20)
	putty(string(b), "plink", "-no-antispoof", "cloudssh@hello", "sha256sum").expectOut(t, checksum(b)+"  -\n")
	putty("", "plink", "-t", "cloudssh@hello", "tty").expect(t, 0).expectSaid(t, "/dev/pts/")

	write(t, filepath.Join(dir, "up"), b)
	batch := filepath.Join(dir, "batch")
	write(t, batch, []byte("mkdir /tmp/psftp\ncd /tmp/psftp\nput "+dir+"/up \"a name\"\nls\nmv \"a name\" name\nget name "+dir+"/down\ndel name\ncd /\nrmdir /tmp/psftp\nquit\n"))
	putty("", "psftp", "-b", batch, "cloudssh@hello").expect(t, 0).expectSaid(t, "a name")
	if !bytes.Equal(read(t, filepath.Join(dir, "down")), b) {
		t.Error("psftp fetched another content than it stored")
	}
	for _, protocol := range []string{"-sftp", "-scp"} {
		back := filepath.Join(dir, "back"+protocol)
		putty("", "pscp", "-q", protocol, filepath.Join(dir, "up"), "cloudssh@hello:/tmp/pscp").expect(t, 0)
		putty("", "pscp", "-q", protocol, "cloudssh@hello:/tmp/pscp", back).expect(t, 0)
		if !bytes.Equal(read(t, back), b) {
			t.Errorf("pscp %s fetched another content than it stored", protocol)
		}
	}
	write(t, batch, []byte("get /no/such\n"))
	putty("", "psftp", "-b", batch, "cloudssh@hello").expect(t, 2).expectSaid(t, "no such file")
}

// testParamiko and testAsyncssh run scripts that read OpenSSH's configuration,
// as programs with these libraries do. They print only what is wrong.
func (p *platform) testParamiko(t *testing.T) {
	p.runScript(t, "paramiko_client.py")
}

func (p *platform) testAsyncssh(t *testing.T) {
	p.runScript(t, "asyncssh_client.py")
}

func (p *platform) runScript(t *testing.T, name string) {
	t.Helper()
	p.run(t, "/usr/bin/python3", "-W", "ignore", p.testdata(t, name), hello, appPort, p.folder(t)).expectOut(t, "ok\n")
}

// testdata copies a file of testdata to where the user sees it: the checkout
// may be below the folder that the user's home lies over.
func (p *platform) testdata(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(p.folder(t), name)
	write(t, file, read(t, filepath.Join("testdata", name)))
	return file
}

// testAnsible runs modules as Ansible does: sftp and ssh with a master that it
// leaves for a minute.
func (p *platform) testAnsible(t *testing.T) {
	dir := p.folder(t)
	socket := filepath.Join(p.dir, "ansible")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTimeout)
		defer cancel()
		finish(t, p.command(ctx, "ssh", "-o", "ControlPath="+socket, "-O", "exit", tools)) // its minute may be over
	})
	ansible := func(program string, args ...string) result {
		return p.run(t, "env", append([]string{
			"ANSIBLE_LOCAL_TEMP=" + dir, "ANSIBLE_NOCOLOR=1", "ANSIBLE_SSH_CONTROL_PATH_DIR=" + p.dir, "ANSIBLE_SSH_CONTROL_PATH=" + socket,
			program, "-i", tools + ",",
		}, args...)...)
	}
	ansible("ansible", "all", "--one-line", "-m", "ping").expect(t, 0).expectSaid(t, tools+" | SUCCESS").expectSaid(t, `"ping": "pong"`)
	write(t, filepath.Join(dir, "a file"), []byte("from Ansible\n"))
	ansible("ansible-playbook", "-e", "dir="+dir, p.testdata(t, "playbook.yml")).expect(t, 0).expectSaid(t, "failed=0").expectSaid(t, "ok=4")
	p.run(t, "ssh", tools, "stat -c '%a %s' '/tmp/a file'").expectOut(t, "640 13\n")
}
