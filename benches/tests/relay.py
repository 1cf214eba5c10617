#!/usr/bin/env python3
"""The least of a proxy, for a test: hands connections on. Takes a file with two ports."""
import selectors, socket, sys

if sys.argv[1] == "--version":
    sys.exit(print("relay 1.2.3"))
port, upstream = map(int, open(sys.argv[1]).read().split())
listener = socket.create_server(("127.0.0.1", port))
watch = selectors.DefaultSelector()
watch.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in watch.select():
        if key.fileobj is listener:
            client = listener.accept()[0]
            server = socket.create_connection(("127.0.0.1", upstream))
            watch.register(client, selectors.EVENT_READ, server)
            watch.register(server, selectors.EVENT_READ, client)
            continue
        try:
            data = key.fileobj.recv(65536)
            key.data.sendall(data)
        except OSError:
            data = b""
        if not data:
            for side in (key.fileobj, key.data):
                if side.fileno() >= 0:
                    watch.unregister(side)
                    side.close()
            break
