local sim = require("weir.sim")
local waterfall = require("policies.waterfall")
local weir = require("weir")

local ask = waterfall { "groq/llama", "openai/gpt" }
local one = waterfall { "openai/gpt" }

describe("a simulated provider", function()
  it("answers as it was asked, plain and streamed", function()
    local plain, stream = sim.run(ask), sim.run(ask, { stream = true })
    assert.equal("Hello from groq", plain.text)
    assert.equal("chat.completion", plain.json.object)
    assert.equal("Hello from groq", stream.text)
    assert.equal("[DONE]", stream.events[#stream.events])
    assert.equal("complete", stream.ended)
  end)

  it("serves all endpoints", function()
    local run = waterfall { "openai/gpt" }
    assert.equal("Hello from openai", sim.run(run, { endpoint = "completions" }).text)
    assert.equal("list", sim.run(run, { endpoint = "embeddings" }).json.object)
    assert.same({ "/completions", "/embeddings" },
      { sim.asked()[1].path, sim.asked()[2].path })
  end)

  it("gives its answers in order, and the last one from then on", function()
    sim.provider("openai"):answers(500):answers("json", { choices = {} }):answers(200)
    local run = waterfall { "openai/gpt" }
    assert.equal(502, sim.run(run).status)
    assert.same({ choices = {} }, sim.run(run).json)
    assert.equal(200, sim.run(run).status)
    assert.equal(200, sim.run(run).status)
  end)

  it("may decide by the request", function()
    sim.provider("openai"):answers(function(call)
      return 200, { text = call.model .. " at " .. call.endpoint }
    end)
    assert.equal("gpt at chat", sim.run(waterfall { "openai/gpt" }).text)
  end)

  it("keeps what it was sent, as table and as text", function()
    local provider = sim.provider("openai")
    sim.run(waterfall { "openai/gpt" }, { body = { temperature = 0.5 }, stream = true,
      headers = { Traceparent = "00-1" } })
    local call = provider.asked[1]
    assert.equal("openai/gpt", call.target)
    assert.equal("gpt", call.body.model)
    assert.equal(0.5, call.body.temperature)
    assert.is_true(call.body.stream_options.include_usage)
    assert.matches('"temperature":0.5', call.text, 1, true)
    assert.equal("00-1", call.headers.traceparent)
  end)

  it("sends every byte that nobody changed as it came", function()
    local text = '{ "model":"default" ,"seed": 12345678901234567890, "messages":[{}]}'
    sim.run(waterfall { "openai/gpt" }, { body = text })
    assert.equal('{ "model":"gpt" ,"seed": 12345678901234567890, "messages":[{}]}',
      sim.asked()[1].text)
  end)

  it("drops what its type refuses", function()
    sim.run(ask, { body = { logprobs = true } })
    assert.is_nil(sim.asked()[1].body.logprobs)
  end)

  it("hides the usage that the client did not ask for", function()
    local result = sim.run(one, { stream = true })
    assert.is_nil(result.body:find("total_tokens", 1, true))
    local asked = { stream_options = { include_usage = true } }
    result = sim.run(one, { stream = true, body = asked })
    assert.matches("total_tokens", result.body)
  end)

  it("calls tools and thinks", function()
    sim.provider("openai"):answers(200, { reasoning = "well, well", tool = { name = "find" } })
    local plain = sim.run(one)
    assert.equal("well, well", plain.reasoning)
    assert.equal("find", plain.json.choices[1].message.tool_calls[1]["function"].name)
    assert.equal("well, well", sim.run(one, { stream = true }).reasoning)
  end)

  it("refuses a word that it does not know", function()
    local ok, err = pcall(function() sim.provider("groq"):answers("sulks") end)
    assert.is_false(ok)
    assert.matches("sim_spec.lua:%d+: a provider answers .* not sulks", err)
  end)

  it("names a script's own error", function()
    sim.provider("openai"):answers(function() error("what now") end)
    local ok, err = pcall(sim.run, one)
    assert.is_false(ok)
    assert.matches("what now", err)
  end)
end)

describe("a simulated fault", function()
  local before_commit = {
    { "refused", code = "refused" },
    { "dns", code = "dns" },
    { "tls", code = "tls" },
    { "unreachable", code = "timeout", seconds = 5 },
    { "stall", code = "timeout", seconds = 60 },
    { "stall", { after = "head" }, code = "timeout", seconds = 60 },
    { "reset", code = "reset" },
    { "reset", { after = "head" }, code = "reset" },
    { "error", code = "bad_response" },
    { "error", { code = "rate_limit_exceeded" }, code = "rate_limited" },
    { "html", code = "bad_response" },
    { "empty", code = "truncated" },
    { "raw", { "data: nonsense\n\n" }, code = "bad_response" },
    { 400, { code = "context_length_exceeded" }, code = "context_length", status = 400 },
    { 401, code = "credential", status = 401 },
    { 429, code = "rate_limited", status = 429 },
    { 500, code = "bad_response", status = 500 },
    { 503, code = "overloaded", status = 503 },
  }

  for _, fault in ipairs(before_commit) do
    it(("%s before the commit point is unseen: %s"):format(fault[1], fault.code), function()
      sim.provider("groq"):answers(fault[1], fault[2])
      local result = sim.run(ask, { stream = true })
      assert.equal("Hello from openai", result.text)
      assert.same({ "groq/llama", "openai/gpt" }, result.targets)
      assert.equal(fault.code, result.trail[1].code)
      assert.equal(fault.status, result.trail[1].status)
      assert.equal(fault.seconds or 0, result.first)
    end)
  end

  for _, fault in ipairs { "stall", "reset", "truncated", "error" } do
    it(fault .. " after it ends the stream with one error event", function()
      sim.provider("groq"):answers(fault, { after = 2, text = { "a ", "b ", "c " } })
      local result = sim.run(ask, { stream = true })
      assert.equal("a b ", result.text)
      assert.equal("cut", result.ended)
      assert.is_not_nil(result.error)
      assert.is_not_nil(result.events[#result.events].error)
      assert.same({ "groq/llama" }, result.targets)
      assert.equal(fault == "stall" and 30 or 0, result.seconds)
    end)
  end

  it("leaves a plain answer to the next", function()
    for _, fault in ipairs { "truncated", "reset", "stall", "error", "html", "empty" } do
      sim.reset()
      sim.provider("groq"):answers(fault, fault == "reset" and { after = 1 } or nil)
      assert.equal("Hello from openai", sim.run(ask).text)
    end
  end)
end)

describe("the virtual clock", function()
  it("is weir.now's and weir.time's", function()
    local now, time = weir.now(), weir.time()
    sim.sleep(2.5)
    assert.equal(2.5, weir.now() - now)
    assert.equal(2.5, weir.time() - time)
  end)

  it("is moved by weir.sleep and by latencies", function()
    sim.provider("openai"):answers(200, { latency = 2, connect = 1 })
    local result = sim.run(function(req)
      weir.sleep(100)
      return req:send("openai/gpt")
    end)
    assert.equal(103, result.first)
  end)

  it("ends the time for all of a request", function()
    local result = sim.run(function(req)
      weir.sleep(3600)
      return req:send("openai/gpt")
    end)
    assert.equal(504, result.status)
    assert.equal("timeout", result.trail[1].code)
  end)

  it("lets the idle clock run between pieces", function()
    sim.provider("openai", { timeout = { idle = 4 } })
      :answers("stream", { "a", "b" }, { interval = 3 })
      :answers("stream", { "a", "b" }, { interval = 5 })
    assert.equal("complete", sim.run(one, { stream = true }).ended)
    assert.equal("cut", sim.run(one, { stream = true }).ended)
  end)

  it("ends cooldowns", function()
    sim.provider("groq"):answers(429, { retry_after = 30 }):answers(200)
    sim.run(ask)
    assert.same({ "openai/gpt" }, sim.run(ask).targets)
    sim.sleep(29)
    assert.same({ "openai/gpt" }, sim.run(ask).targets)
    sim.sleep(2)
    assert.same({ "groq/llama" }, sim.run(ask).targets)
  end)

  it("obeys the timeouts of a send", function()
    sim.provider("openai"):answers("stall")
    local result = sim.run(function(req)
      return req:send("openai/gpt", { timeout = { first = 0.25 } })
    end)
    assert.equal(504, result.status)
    assert.equal(0.25, result.seconds)
  end)
end)

describe("a simulated request", function()
  it("may leave", function()
    sim.provider("openai"):answers("stall")
    local result = sim.run(one, { leaves = 7 })
    assert.equal("left", result.ended)
    assert.equal("cancelled", result.code)
    assert.equal(7, result.seconds)
  end)

  it("runs beside others", function()
    sim.provider("openai"):answers(200, { latency = 10 })
    local results = sim.all(one, { {}, { at = 5 } })
    assert.same({ 10, 10 }, { results[1].first, results[2].first })
    assert.equal(5, sim.asked()[2].at - sim.asked()[1].at)
  end)

  it("has a key, headers and a reply", function()
    local result = sim.run(function(req)
      return req:reply(200, { who = req.key.name, agent = req.headers["user-agent"] })
    end, { key = "ann", headers = { ["User-Agent"] = "spec" } })
    assert.same({ who = "ann", agent = "spec" }, result.json)
    assert.equal("reply", result.code)
  end)

  it("shows what a policy's filters made of the answer", function()
    sim.provider("openai"):answers("stream", { "Hel", "lo" })
    local ended
    local result = sim.run(function(req)
      local res, err = req:send("openai/gpt")
      if not res then return nil, err end
      res:on_end(function(end_) ended = end_ end)
      return res:map(function(event)
        if event.text then event.text = event.text:upper() end
        return event
      end)
    end, { stream = true })
    assert.equal("HELLO", result.text)
    assert.equal("ok", ended.code)
    assert.equal(2, ended.usage.completion_tokens)
  end)

  it("keeps the policy's error in the log", function()
    local result = sim.run(function() error("oh dear") end)
    assert.equal(500, result.status)
    assert.equal("policy_error", result.error.code)
    assert.matches("sim_spec.lua:%d+: oh dear", sim.log()[1].error)
  end)

  it("must have known members", function()
    assert.has_error(function() sim.run(one, { temperature = 1 }) end,
      "a request has no member 'temperature' (the model's parameters go into body)")
  end)

  it("ends although its policy does not", function()
    local ok, err = pcall(sim.run, function()
      while true do weir.sleep(1) end
    end)
    assert.is_false(ok)
    assert.matches("does not end by itself", err)
  end)
end)

describe("the world", function()
  it("is another in each test: first", function()
    sim.provider("groq"):answers(429)
    assert.same({ "groq/llama", "openai/gpt" }, sim.run(ask).targets)
  end)

  it("is another in each test: second", function()
    assert.same({ "groq/llama" }, sim.run(ask).targets)
    assert.equal(1, #sim.asked())
  end)

  it("has the settings of a weir.lua", function()
    sim.settings { cooldown = 5, timeout = { first = 2 } }
    sim.provider("groq"):answers("stall"):answers(429):answers(200)
    assert.equal(2, sim.run(ask).first)
    sim.run(ask)
    sim.sleep(6)
    assert.same({ "groq/llama" }, sim.run(ask).targets)
  end)

  it("refuses settings that a weir.lua could not have", function()
    sim.settings { timeouts = {} }
    assert.has_error(function() sim.run(ask) end,
      "sim:\n  sim: timeouts: unknown member (did you mean: timeout)")
  end)

  it("can be told what cools", function()
    sim.cool("groq/llama", 10)
    assert.same({ "openai/gpt" }, sim.run(ask).targets)
    sim.cool("openai", 20, "credit")
    local result = sim.run(ask)
    assert.equal(429, result.status)
    assert.equal("10", result.headers["retry-after"])
  end)

  it("counts what policies count, in each world anew", function()
    local function counted(req)
      weir.metric("asked", 2, { team = "red", stream = req.stream })
      weir.metric("plain")
      return req:reply(200, "counted")
    end
    sim.run(counted)
    sim.run(counted)
    assert.same({ ['asked{stream="false",team="red"}'] = 4, plain = 2 }, sim.metrics())
    sim.reset()
    assert.same({}, sim.metrics())
  end)
end)
