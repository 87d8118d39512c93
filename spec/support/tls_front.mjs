// A TLS server in front of a plain one: node tls_front.mjs KEY CERTIFICATE PORT [HELD]
// Says on stdout where it listens, and a line for each handshake and each end.
// With HELD it passes on about that many bytes of a connection until the server behind has said
// something: two pairs of kernel buffers might hold all of a long request else.

import fs from "node:fs";
import net from "node:net";
import tls from "node:tls";

const [key, cert, port, held = Infinity] = process.argv.slice(2);

const server = tls.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert),
  ALPNProtocols: ["http/1.1"] });

server.on("secureConnection", (front) => {
  console.log(`handshake ${front.getProtocol()} ${front.alpnProtocol || "-"}`);
  const back = net.connect(Number(port), "127.0.0.1");
  front.on("error", () => back.destroy());
  back.on("error", () => front.destroy());
  front.on("close", () => {
    console.log("closed"); // by both sides
    back.destroy();
  });
  back.on("close", () => front.end());
  front.pipe(back);
  back.pipe(front);
  let passed = 0;
  const hold = (bytes) => {
    passed += bytes.length;
    if (passed >= held) front.unpipe(back).pause();
  };
  front.on("data", hold);
  back.once("data", () => front.off("data", hold).pipe(back));
});

server.on("tlsClientError", () => console.log("no handshake"));
server.listen(0, "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
