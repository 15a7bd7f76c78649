"""Drives asyncssh with OpenSSH's configuration: HOST PORT-OF-THE-APP FOLDER."""

import asyncio
import hashlib
import os
import sys

import asyncssh

host, port, folder = sys.argv[1:]


async def main():
    config = os.path.expanduser("~/.ssh/config")
    async with asyncssh.connect(host, config=[config]) as conn:
        # Commands at once: streams and status.
        results = await asyncio.gather(
            *(conn.run(f"cat; echo err >&2; exit {i}", input=f"in {i}\n") for i in range(5))
        )
        for i, r in enumerate(results):
            assert (r.stdout, r.stderr, r.exit_status) == (f"in {i}\n", "err\n", i), r

        # A terminal that changes its size.
        process = await conn.create_process("cat >/dev/null; stty size", term_type="xterm", term_size=(80, 24))
        process.change_terminal_size(101, 33)
        process.stdin.write_eof()
        assert "33 101" in await process.stdout.read()

        # A signal.
        process = await conn.create_process("trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.1; done")
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("USR1")
        assert await process.stdout.readline() == "caught\n"
        assert (await process.wait()).exit_status == 9

        # Files.
        up, down = os.path.join(folder, "up"), os.path.join(folder, "down")
        with open(up, "wb") as f:
            f.write(os.urandom(4 << 20))
        async with conn.start_sftp_client() as sftp:
            await sftp.put(up, "/tmp/asyncssh", preserve=True)
            await sftp.get("/tmp/asyncssh", down, preserve=True)
            await sftp.remove("/tmp/asyncssh")
            assert not await sftp.exists("/tmp/asyncssh")
            assert (await sftp.statvfs("/tmp")).blocks > 0
        with open(up, "rb") as f, open(down, "rb") as g:
            assert hashlib.sha256(f.read()).digest() == hashlib.sha256(g.read()).digest()
        assert int(os.stat(up).st_mtime) == int(os.stat(down).st_mtime)

        # Forwards.
        async with conn.forward_local_port("127.0.0.1", 0, "127.0.0.1", int(port)) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert b"Hello from hello-ssh" in await reader.read()
            writer.close()
    print("ok")


asyncio.run(main())
