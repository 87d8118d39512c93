// The official SDK of OpenAI talks to the running gateway, behind which `weir mock` serves.
// What goes wrong is asked for by the target's model name: "mock:fault=stall_body,after=3".

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import OpenAI from "openai";
import { saying, startGateway, startMock, stopAll } from "./support/weir.mjs";

const messages = [{ role: "user", content: "Say something." }];

const models = {
  fine: ["a/mock"],
  tools: ["a/mock:tool=get_weather"],
  cut: ["a/mock:fault=cut_body,after=3"],
  error_event: ["a/mock:fault=error_body,after=3"],
  slow: ["a/mock:fault=stall_head"],
  endless: ["a/mock:chunks=1000000,interval=5"],
  limited: ["a/mock:status=429,retry-after=1"],
  wrong: ["a/mock:status=400,message=no such option"],
  failing: ["a/mock:status=500"],
  // the story: the first is rate limited, the second stalls, the third streams
  story: ["a/mock:status=429,retry-after=1", "b/mock:fault=stall_after_head", "c/mock"],
};

/** weir.lua for three mocks. */
function config(urls) {
  // the one that is to be waited for in vain has little time, and no other
  const timeout = (name) => name === "b" ? "timeout = { first = 1 }, " : "";
  const providers = Object.entries(urls).map(([name, url]) =>
    `    ${name} = { type = "openai", base_url = "${url}", ${timeout(name)}key = weir.env "KEY" },`);
  const waterfalls = Object.entries(models).map(([name, targets]) =>
    `    ${name} = waterfall { ${targets.map((target) => JSON.stringify(target)).join(", ")} },`);
  return `
local weir = require "weir"
local waterfall = require "policies.waterfall"
return {
  listen = "127.0.0.1:0",
  keys = { weir.env "WEIR_KEY" },
  providers = {
${providers.join("\n")}
  },
  models = {
${waterfalls.join("\n")}
  },
}
`;
}

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

describe("the openai package", () => {
  let gateway, client, impatient;

  before(async () => {
    const [a, b, c] = await Promise.all([startMock(), startMock(), startMock()]);
    gateway = await startGateway(config({ a, b, c }), { KEY: "sk-mock", WEIR_KEY: "wk-spec" });
    const options = { apiKey: "wk-spec", baseURL: `${gateway.url}/v1` };
    client = new OpenAI(options);
    impatient = new OpenAI({ ...options, maxRetries: 0 });
  });

  after(stopAll);

  it("gets a plain answer", async () => {
    const answer = await client.chat.completions.create({ model: "fine", messages });
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.ok(answer.choices[0].message.content.length > 0);
    assert.ok(answer.usage.total_tokens > 0);
    assert.ok(answer._request_id);
  });

  it("gets a stream", async () => {
    const stream = await client.chat.completions.create({ model: "fine", messages, stream: true });
    const chunks = await collect(stream);
    assert.ok(textOf(chunks).length > 0);
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    // common code reads choices[0] of every chunk: nobody asked for usage
    assert.ok(chunks.every((chunk) => chunk.choices.length === 1));
  });

  it("gets usage at a stream's end when it asks for it", async () => {
    const stream = await client.chat.completions.create({
      model: "fine", messages, stream: true, stream_options: { include_usage: true },
    });
    const last = (await collect(stream)).at(-1);
    assert.ok(last.usage.total_tokens > 0);
  });

  it("gets a tool call, plain and streamed", async () => {
    const tools = [{ type: "function", function: { name: "get_weather", parameters: {} } }];
    const request = { model: "tools", messages, tools };
    const answer = await client.chat.completions.create(request);
    assert.equal(answer.choices[0].message.tool_calls[0].function.name, "get_weather");
    const runner = client.chat.completions.stream(request);
    const whole = await runner.finalChatCompletion();
    const call = whole.choices[0].message.tool_calls[0].function;
    assert.equal(call.name, "get_weather");
    assert.equal(call.arguments, answer.choices[0].message.tool_calls[0].function.arguments);
  });

  it("lists the models", async () => {
    const ids = (await client.models.list()).data.map((model) => model.id);
    assert.deepEqual(ids.sort(), Object.keys(models).sort());
    assert.equal((await client.models.retrieve("fine")).id, "fine");
  });

  it("gets embeddings", async () => {
    const answer = await client.embeddings.create({ model: "fine", input: "hello" });
    assert.ok(answer.data[0].embedding.length > 0);
  });

  it("sees one clean stream when the first is limited and the second stalls", async () => {
    const { data, response } = await impatient.chat.completions
      .create({ model: "story", messages, stream: true }).withResponse();
    const chunks = await collect(data);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("x-weir-attempts"), "3");
    assert.equal(response.headers.get("x-weir-target"), "c/mock");
    assert.ok(textOf(chunks).length > 0);
    assert.equal(chunks.filter((chunk) => chunk.choices[0].delta.role).length, 1);
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  });

  it("aborts a stream, and the gateway goes on", async () => {
    const stream = await client.chat.completions
      .create({ model: "endless", messages, stream: true });
    let seen = 0;
    for await (const chunk of stream) {
      assert.ok(chunk.choices);
      if (++seen === 3) stream.controller.abort();
    }
    // chunks that the SDK had read by then still come
    assert.ok(seen >= 3);
    await saying(gateway.child, /event=request[^\n]*status=499/);
    await client.chat.completions.create({ model: "fine", messages });
  });

  it("aborts before the first byte", async () => {
    const controller = new AbortController();
    const promise = impatient.chat.completions
      .create({ model: "slow", messages }, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await assert.rejects(promise, OpenAI.APIUserAbortError);
  });

  describe("raises", () => {
    const ask = (model, more) => impatient.chat.completions.create({ model, messages, ...more });

    it("AuthenticationError for a bad key", async () => {
      const stranger = new OpenAI({ apiKey: "wk-other", baseURL: `${gateway.url}/v1` });
      await assert.rejects(stranger.models.list(), (error) => {
        assert.ok(error instanceof OpenAI.AuthenticationError);
        assert.equal(error.code, "invalid_api_key");
        return true;
      });
    });

    it("NotFoundError for a model that nobody serves", async () => {
      await assert.rejects(ask("nobody"), (error) => {
        assert.ok(error instanceof OpenAI.NotFoundError);
        assert.equal(error.code, "model_not_found");
        assert.ok(error.requestID);
        return true;
      });
    });

    it("BadRequestError for a body that makes no sense", async () => {
      await assert.rejects(ask("fine", { messages: [] }), OpenAI.BadRequestError);
      await assert.rejects(ask("wrong"), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.match(error.message, /no such option/);
        return true;
      });
    });

    it("RateLimitError when every target is limited", async () => {
      await assert.rejects(ask("limited"), (error) => {
        assert.ok(error instanceof OpenAI.RateLimitError);
        assert.ok(Number(error.headers.get("retry-after")) >= 1);
        return true;
      });
    });

    it("InternalServerError when every target fails, with the trail", async () => {
      await assert.rejects(ask("failing"), (error) => {
        assert.ok(error instanceof OpenAI.InternalServerError);
        assert.equal(error.status, 502);
        assert.equal(error.error.trail.length, 1);
        return true;
      });
    });

    for (const model of ["cut", "error_event"]) {
      it(`APIError inside a stream that breaks (${model})`, async () => {
        const chunks = [];
        await assert.rejects(async () => {
          for await (const chunk of await ask(model, { stream: true })) chunks.push(chunk);
        }, (error) => {
          assert.ok(error instanceof OpenAI.APIError);
          assert.equal(typeof error.message, "string");
          return true;
        });
        assert.ok(chunks.length > 0);
      });
    }
  });
});
