// The official SDK of OpenAI talks to the gateway over TLS.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import https from "node:https";
import { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import OpenAI from "openai";
import { makeCertificate, startGateway, startMock, stopAll } from "./support/weir.mjs";

const messages = [{ role: "user", content: "Say something." }];

/** A fetch that trusts one certificate: Node's own reads its list only when it starts. */
function fetchWith(ca) {
  const agent = new https.Agent({ ca, keepAlive: true });
  return (url, { method, headers, body, signal }) => new Promise((resolve, reject) => {
    const options = { agent, method, headers: Object.fromEntries(new Headers(headers)), signal };
    const request = https.request(url, options, (answer) => {
      resolve(new Response(Readable.toWeb(answer), { status: answer.statusCode,
        headers: Object.entries(answer.headers) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

describe("the openai package over TLS", () => {
  let client;

  before(async () => {
    const { cert, key } = makeCertificate();
    const gateway = await startGateway(`
local weir = require "weir"
local waterfall = require "policies.waterfall"
return {
  listen = "127.0.0.1:0",
  tls = { cert = "${cert}", key = "${key}" },
  keys = { weir.env "WEIR_KEY" },
  providers = { a = { type = "openai", base_url = "${await startMock()}" } },
  models = { fine = waterfall { "a/mock" }, long = waterfall { "a/mock:chunks=500" } },
}
`, { WEIR_KEY: "wk-spec" });
    client = new OpenAI({ apiKey: "wk-spec", baseURL: `${gateway.url.replace("http:", "https:")}/v1`,
      fetch: fetchWith(readFileSync(cert)) });
  });

  after(stopAll);

  it("gets a plain answer", async () => {
    const answer = await client.chat.completions.create({ model: "fine", messages });
    assert.ok(answer.choices[0].message.content.length > 0);
  });

  it("gets a stream, and the next one on the same connection", async () => {
    for (let i = 0; i < 2; i++) {
      const stream = await client.chat.completions.create({ model: "long", messages, stream: true });
      let last, count = 0;
      for await (const chunk of stream) {
        last = chunk;
        count++;
      }
      assert.ok(count >= 500);
      assert.equal(last.choices[0].finish_reason, "stop");
    }
  });

  it("gets an error of its class", async () => {
    await assert.rejects(client.chat.completions.create({ model: "none", messages }),
      OpenAI.NotFoundError);
  });
});
