// A server that nobody here wrote, told what to speak: node node_server.js KIND [CERT KEY], where KIND is http1, h2c, https,
// h2 or both. It prints its port, and ends with its standard input.
"use strict";
const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");
const https = require("node:https");

const [kind, cert, key] = process.argv.slice(2);
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function answer(request, response) {
  if (request.url === "/stream") {
    response.writeHead(200, { "content-type": "text/plain" });
    request.on("data", (piece) => response.write(piece.toString().toUpperCase()));
    request.on("end", () => response.end());
    return;
  }
  if (request.url.startsWith("/bytes/")) {
    const body = Buffer.alloc(Number(request.url.slice(7)), "x");
    response.writeHead(200, { "content-length": body.length });
    response.end(body);
    request.resume();
    return;
  }
  const sum = crypto.createHash("sha256");
  let bytes = 0;
  request.on("data", (piece) => {
    sum.update(piece);
    bytes += piece.length;
  });
  request.on("end", () => {
    const seen = {
      method: request.method,
      target: request.url,
      version: request.httpVersion,
      secure: Boolean(request.socket.encrypted),
      scheme: request.headers[":scheme"] || null,
      headers: request.headers,
      bytes,
      sum: sum.digest("hex"),
      trailers: request.trailers,
    };
    if (request.httpVersion === "1.1") response.setHeader("trailer", "x-down");
    response.setHeader("content-type", "application/json");
    response.write(JSON.stringify(seen));
    response.addTrailers({ "x-down": "2" });
    response.end();
  });
}

function upgrade(request, socket, head) {
  const accept = crypto.createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\nX-Over: 1.1\r\n\r\n`,
  );
  if (head.length > 0) socket.write(head);
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
}

function connect(request, response) {
  if (request.headers[":protocol"] !== "websocket") return response.stream.respond({ ":status": 501 }, { endStream: true });
  response.stream.on("error", () => {});
  response.stream.respond({ ":status": 200, "x-over": "2" });
  response.stream.pipe(response.stream);
}

const tls = cert && { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const settings = { enableConnectProtocol: true };
const server = {
  http1: () => http.createServer(answer),
  h2c: () => http2.createServer({ settings }, answer),
  https: () => https.createServer(tls, answer),
  h2: () => http2.createSecureServer({ ...tls, settings }, answer),
  both: () => http2.createSecureServer({ ...tls, settings, allowHTTP1: true }, answer),
}[kind]();
server.on("upgrade", upgrade);
server.on("connect", connect);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
