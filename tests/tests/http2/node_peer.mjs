// A server and client on Node.js's own HTTP/2, for tests/tests/http2/node.rs.
//
//     node_peer.mjs server               prints its port
//     node_peer.mjs client PORT          prints one JSON object of what it saw

import http2 from "node:http2";
import { once } from "node:events";

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_NO_ERROR } = http2.constants;

function serve() {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 50 } });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    switch (headers[":path"]) {
      case "/echo":
        stream.additionalHeaders({ ":status": 103, link: "</a.css>" });
        stream.respond({ ":status": 200, "x-method": headers[":method"] }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42", "x-sent": stream.sentFields ?? "none" }));
        stream.on("trailers", (trailers) => (stream.sentFields = trailers["x-sent"]));
        stream.pipe(stream);
        break;
      case "/expect":
        // The body comes when it was asked for.
        stream.additionalHeaders({ ":status": 100 });
        stream.once("data", (data) => stream.end(data));
        break;
      case "/calm":
        stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
        break;
      case "/leave":
        // What comes from now on is for the next connection.
        stream.session.goaway(NGHTTP2_NO_ERROR);
        stream.respond({ ":status": 200 });
        stream.end("left");
        break;
      case "/hang":
        stream.on("close", () => (server.cancelled = stream.rstCode));
        stream.respond({ ":status": 200 });
        stream.write("hanging");
        break;
      case "/cancelled":
        stream.respond({ ":status": 200 });
        stream.end(String(server.cancelled));
        break;
      default:
        stream.respond({ ":status": 204 }, { endStream: true });
    }
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
}

async function ask(session, headers, body, trailers) {
  const stream = session.request(headers, { waitForTrailers: trailers !== undefined, endStream: body === undefined });
  const seen = { interim: [], trailers: {}, body: 0, same: true };
  stream.on("headers", (fields) => seen.interim.push(fields[":status"]));
  stream.on("trailers", (fields) => (seen.trailers = { ...fields }));
  stream.on("response", (fields) => (seen.head = fields));
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.on("data", (data) => {
    seen.same &&= body !== undefined && data.equals(body.subarray(seen.body, seen.body + data.length));
    seen.body += data.length;
    seen.text = data.toString("latin1").slice(0, 40);
  });
  if (body !== undefined) stream.end(body);
  try {
    await once(stream, "close");
  } catch {
    seen.code = stream.rstCode;
  }
  seen.status = seen.head?.[":status"];
  return seen;
}

async function play(port) {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const get = (path, method = "GET") => ask(session, { ":path": path, ":method": method });
  const said = {};

  const body = Buffer.alloc(1_000_000, "a body of some length and no period of the frames' ");
  const echo = await ask(session, { ":path": "/echo", ":method": "POST", te: "trailers" }, body, { "x-sent": "behind" });
  said.echo = [echo.status, echo.body, echo.same, echo.interim, echo.trailers["x-sum"], echo.trailers["x-sent"]];

  // Twice as many as the server allows on a connection.
  const many = await Promise.all(Array.from({ length: 100 }, () => get("/none")));
  said.many = many.filter((it) => it.status === 204).length;

  const head = await get("/echo", "HEAD");
  said.head = [head.status, head.body, head.head["x-method"]];
  said.calm = (await get("/calm")).status;

  const expecting = session.request({ ":path": "/expect", ":method": "POST", expect: "100-continue" });
  await once(expecting, "continue");
  expecting.end("asked for");
  said.expect = (await once(expecting, "data"))[0].toString();

  const left = [];
  for (let n = 0; n < 10; n++) {
    left.push((await get("/leave")).text);
  }
  said.left = left.filter((it) => it === "left").length;

  const hanging = session.request({ ":path": "/hang" });
  await once(hanging, "data");
  hanging.close(NGHTTP2_CANCEL);
  await once(hanging, "close");
  do {
    said.cancelled = (await get("/cancelled")).text;
  } while (said.cancelled === "undefined");

  said.ping = await new Promise((resolve) => session.ping((error) => resolve(error === null)));
  session.close();
  await once(session, "close");
  console.log(JSON.stringify(said));
}

const [, , side, port] = process.argv;
if (side === "server") serve();
else await play(port);
