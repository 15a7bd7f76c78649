"""Drives paramiko with OpenSSH's configuration: HOST PORT-OF-THE-APP FOLDER."""

import hashlib
import os
import sys

import paramiko

host, port, folder = sys.argv[1:]
config = paramiko.SSHConfig.from_path(os.path.expanduser("~/.ssh/config")).lookup(host)

client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.RejectPolicy())
sock = paramiko.ProxyCommand(config["proxycommand"])
client.load_host_keys(config["userknownhostsfile"])
client.connect(
    config["hostname"],
    username=config["user"],
    key_filename=config["identityfile"],
    sock=sock,
    allow_agent=False,
    look_for_keys=False,
)

# A command: streams and status.
stdin, stdout, stderr = client.exec_command("cat; echo err >&2; exit 7")
stdin.write("in\n")
stdin.channel.shutdown_write()
assert stdout.read() == b"in\n"
assert stderr.read() == b"err\n"
assert stdout.channel.recv_exit_status() == 7

# A terminal.
shell = client.invoke_shell(width=101, height=33)
shell.sendall(b"stty size; exit\n")
assert b"33 101" in shell.makefile("rb").read()

# Files.
data = os.urandom(4 << 20)
sftp = client.open_sftp()
sftp.mkdir("/tmp/paramiko")
with sftp.open("/tmp/paramiko/a name", "wb") as f:
    f.set_pipelined(True)
    f.write(data)
assert sftp.listdir("/tmp/paramiko") == ["a name"]
sftp.posix_rename("/tmp/paramiko/a name", "/tmp/paramiko/name")
assert sftp.stat("/tmp/paramiko/name").st_size == len(data)
sftp.get("/tmp/paramiko/name", os.path.join(folder, "down"))
with open(os.path.join(folder, "down"), "rb") as f:
    assert hashlib.sha256(f.read()).digest() == hashlib.sha256(data).digest()
sftp.remove("/tmp/paramiko/name")
sftp.rmdir("/tmp/paramiko")
try:
    sftp.stat("/tmp/paramiko")
    sys.exit("what was removed is there")
except FileNotFoundError:
    pass

# A forward.
channel = client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", int(port)), ("127.0.0.1", 0))
channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
assert b"Hello from hello-ssh" in channel.makefile("rb").read()

client.close()
print("ok")
