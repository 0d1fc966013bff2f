// The node peer: W1 and W8 by node's http, W2 by net, W3 by the package ws.
//
//   NODE_PATH=.../node_modules node node.js TCP_PORT HTTP_PORT
//
// Written as its users would write it for speed: one write per chunk of data.
"use strict";
const http = require("http");
const net = require("net");
const { WebSocketServer } = require("ws");

const [tcpPort, httpPort] = process.argv.slice(2).map(Number);

function reply(call) {
    const body = Buffer.from(JSON.stringify(call.params));
    const frame = Buffer.allocUnsafe(4 + body.length);
    frame.writeUInt32BE(frame.length, 0);
    body.copy(frame, 4);
    return frame;
}

function serveFrames(socket) {
    let waiting = Buffer.alloc(0);

    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
        const bytes = waiting.length ? Buffer.concat([waiting, chunk]) : chunk;
        const replies = [];
        let at = 0;

        while (bytes.length - at >= 4) {
            const size = bytes.readUInt32BE(at);
            if (bytes.length - at < size) break;
            const call = JSON.parse(bytes.toString("utf8", at + 4, at + size));
            if (call.controller_name === "bench" && call.method_name === "echo")
                replies.push(reply(call));
            at += size;
        }
        waiting = bytes.subarray(at);
        if (replies.length === 1) socket.write(replies[0]);
        else if (replies.length > 1) socket.write(Buffer.concat(replies));
    });
}

const web = http.createServer((request, response) => {
    const body = JSON.stringify({ message: "Hello, World!" });
    response.writeHead(200, {
        "Content-Type": "application/json",
        "Content-Length": Buffer.byteLength(body),
    });
    response.end(body);
});
web.keepAliveTimeout = 600000;

const sockets = new WebSocketServer({
    server: web,
    path: "/ws",
    perMessageDeflate: false,
});
sockets.on("connection", (ws) => {
    ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
});

net.createServer(serveFrames).listen(tcpPort, "127.0.0.1", 4096);
web.listen(httpPort, "127.0.0.1", 4096);
