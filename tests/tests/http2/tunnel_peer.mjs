// Node's http and http2 as the ends of a tunnel: `server http1|http2` says its port and gives back
// what comes through, `client http1|http2 PORT` sends a mebibyte through and says what became of it.

import { createHash, randomBytes } from "node:crypto";
import http from "node:http";
import http2 from "node:http2";

const [role, protocol, port] = process.argv.slice(2);

const proof = (key) =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

function listen(server) {
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

const servers = {
  http1() {
    const server = http.createServer((_, response) => response.end("plain"));
    server.on("upgrade", (request, socket, head) => {
      const key = request.headers["sec-websocket-key"];
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
          `Sec-WebSocket-Accept: ${proof(key)}\r\n\r\n`,
      );
      socket.unshift(head);
      socket.pipe(socket);
    });
    return server;
  },
  http2() {
    const server = http2.createServer({ settings: { enableConnectProtocol: true } });
    server.on("stream", (stream, headers) => {
      if (headers[":protocol"] !== "websocket") {
        stream.respond({ ":status": 200 });
        return stream.end("plain");
      }
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    return server;
  },
};

// Sends all and the end, and says whether all and the end came back.
function converse(tunnel, done) {
  const sent = randomBytes(1 << 20);
  const came = [];
  tunnel.on("data", (piece) => came.push(piece));
  tunnel.on("end", () => {
    console.log(Buffer.concat(came).equals(sent) ? "all came back" : "something else came back");
    done();
  });
  tunnel.on("error", (error) => console.log(`error: ${error.message}`));
  tunnel.end(sent);
}

const clients = {
  http1() {
    const key = randomBytes(16).toString("base64");
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": key,
    };
    const request = http.request({ host: "127.0.0.1", port, headers });
    request.on("response", (response) => console.log(`answered ${response.statusCode}`));
    request.on("upgrade", (response, socket, head) => {
      const proven = response.headers["sec-websocket-accept"] === proof(key);
      console.log(proven ? "proven" : "not proven");
      socket.unshift(head);
      converse(socket, () => {});
    });
    request.end();
  },
  http2() {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.once("remoteSettings", (settings) => {
      console.log(settings.enableConnectProtocol ? "offered" : "not offered");
      const stream = session.request(
        {
          ":method": "CONNECT",
          ":protocol": "websocket",
          ":path": "/chat",
          "sec-websocket-version": "13",
        },
        { endStream: false },
      );
      stream.on("response", (headers) => console.log(`answered ${headers[":status"]}`));
      converse(stream, () => session.close());
    });
  },
};

if (role === "server") listen(servers[protocol]());
else clients[protocol]();
