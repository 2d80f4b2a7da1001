// A server on Node.js and `ws` that does what the others are asked for: whoever asks for ?topic=T subscribes to it, and a publish
// goes to all who did, in the frames that Fanfare speaks. Each frame is made once for all.
import { createServer } from "node:http";
import { WebSocketServer, WebSocket } from "ws";

const topics = new Map();
const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 1024 * 1024 });

sockets.on("connection", (socket, request) => {
  const name = new URL(request.url, "http://localhost").searchParams.get("topic");
  if (name !== null) {
    const subscribers = topics.get(name) ?? new Set();
    topics.set(name, subscribers);
    subscribers.add(socket);
    socket.on("close", () => subscribers.delete(socket));
  }
  socket.on("error", () => {});
  socket.on("message", (bytes) => {
    const { topic, data } = JSON.parse(bytes);
    const frame = Buffer.from(JSON.stringify({ type: "message", topic, data, time: Date.now() }));
    for (const subscriber of topics.get(topic) ?? []) {
      if (subscriber.readyState === WebSocket.OPEN) subscriber.send(frame, { binary: false });
    }
  });
});

server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
