local continue = require("policies.continue")
local sim = require("weir.sim")
local weir = require("weir")

local function count(events, test)
  local found = 0
  for _, event in ipairs(events) do
    if type(event) == "table" and event.choices and event.choices[1] and test(event.choices[1]) then
      found = found + 1
    end
  end
  return found
end

local function has_role(choice) return choice.delta.role ~= nil end
local function has_finish(choice) return type(choice.finish_reason) == "string" end

describe("continue", function()
  local ask = continue { "mistral/a", "openrouter/b", "laptop/c" }
  local streamed = { stream = true }

  local function breaks(name, how, options)
    options.after = options.after or 2
    sim.provider(name):answers(how, options)
  end

  for _, how in ipairs { "reset", "truncated", "stall", "error" } do
    it("goes on with the next target from where the stream was, after: " .. how, function()
      breaks("mistral", how, { text = { "one ", "two ", "three" } })
      sim.provider("openrouter"):answers(200, { text = { "three ", "four" } })
      local result = sim.run(ask, streamed)
      assert.equal("complete", result.ended)
      assert.equal("one two three four", result.text)
      assert.is_nil(result.error)
      assert.equal("openrouter/b", result.target)
      assert.equal("ok", result.code)
    end)
  end

  it("asks the next one with the text so far as the answer's beginning", function()
    breaks("mistral", "reset", { text = { "one ", "two ", "three" } })
    sim.run(ask, { stream = true, body = { seed = 9 } })
    local body = sim.provider("openrouter").asked[1].body
    assert.same({ { role = "user", content = "Hello" },
      { role = "assistant", content = "one two " } }, body.messages)
    assert.equal(9, body.seed)
  end)

  it("adds to a beginning that the client gave itself", function()
    breaks("mistral", "reset", { text = { "one ", "two " } })
    sim.run(ask, { stream = true, messages = { { role = "user", content = "count" },
      { role = "assistant", content = "zero " } } })
    local messages = sim.provider("openrouter").asked[1].body.messages
    assert.equal(2, #messages)
    assert.equal("zero one two ", messages[2].content)
  end)

  it("shows the client one stream: one role, one finish, one id, one [DONE]", function()
    breaks("mistral", "raw", { body = {
      'data: {"id":"first","created":1,"choices":[{"index":0,"delta":{"role":"assistant",'
        .. '"content":""}}]}\n\n',
      'data: {"id":"first","created":1,"choices":[{"index":0,"delta":{"content":"one "}}]}\n\n',
    } })
    sim.provider("openrouter"):answers("raw", { body = {
      'data: {"id":"second","created":2,"choices":[{"index":0,"delta":{"role":"assistant",'
        .. '"content":""}}]}\n\n',
      'data: {"id":"second","created":2,"choices":[{"index":0,"delta":{"role":"assistant",'
        .. '"content":"two"}}]}\n\n',
      'data: {"id":"second","created":2,"choices":[{"index":0,"delta":{},'
        .. '"finish_reason":"stop"}]}\n\n',
      "data: [DONE]\n\n",
    } })
    local result = sim.run(ask, streamed)
    assert.equal("one two", result.text)
    assert.equal(1, count(result.events, has_role))
    assert.equal(1, count(result.events, has_finish))
    for _, event in ipairs(result.events) do
      if event ~= "[DONE]" then
        assert.equal("first", event.id)
        assert.equal(1, event.created)
      end
    end
    assert.equal("[DONE]", result.events[#result.events])
    assert.equal(5, #result.events)
  end)

  it("goes on a second time", function()
    breaks("mistral", "reset", { after = 1, text = { "one ", "x" } })
    breaks("openrouter", "truncated", { after = 1, text = { "two ", "x" } })
    sim.provider("laptop"):answers(200, { text = { "three" } })
    local result = sim.run(ask, streamed)
    assert.equal("one two three", result.text)
    local messages = sim.provider("laptop").asked[1].body.messages
    assert.equal("one two ", messages[#messages].content)
    assert.equal(1, count(result.events, has_role))
  end)

  it("asks those that are left when the next one fails", function()
    breaks("mistral", "reset", { text = { "one ", "two " } })
    sim.provider("openrouter"):answers(400)
    sim.provider("laptop"):answers(200, { text = "three" })
    assert.equal("one two three", sim.run(ask, streamed).text)
  end)

  it("ends with one error event when nobody can go on", function()
    breaks("mistral", "reset", { text = { "one ", "two " } })
    sim.provider("openrouter"):answers(500)
    sim.provider("laptop"):answers("refused")
    local result = sim.run(ask, streamed)
    assert.equal("cut", result.ended)
    assert.equal("one two ", result.text)
    assert.equal("stream_truncated", result.error.code)
    assert.equal("stream_truncated", result.code)
    assert.equal("mistral/a", result.target)
  end)

  it("never goes on inside a tool call", function()
    sim.provider("mistral"):answers("reset", { after = 2, text = { "x" }, tool = { name = "f" } })
    local result = sim.run(ask, streamed)
    assert.equal("cut", result.ended)
    assert.same({ "mistral/a" }, result.targets)
  end)

  it("never goes on after the finish", function()
    sim.provider("mistral"):answers("raw", { body = {
      'data: {"choices":[{"index":0,"delta":{"content":"all"},"finish_reason":"stop"}]}\n\n',
      'data: {"error":{"message":"late"}}\n\n',
    } })
    local result = sim.run(ask, streamed)
    assert.equal("cut", result.ended)
    assert.same({ "mistral/a" }, result.targets)
  end)

  it("never goes on with several answers at once", function()
    breaks("mistral", "reset", { text = { "one ", "two " } })
    local result = sim.run(ask, { stream = true, body = { n = 2 } })
    assert.equal("cut", result.ended)
  end)

  it("begins anew while only thoughts were said", function()
    breaks("mistral", "reset", { after = 1, reasoning = { "hm " }, text = { "x" } })
    sim.provider("openrouter"):answers(200, { text = "here" })
    local result = sim.run(ask, streamed)
    assert.equal("here", result.text)
    assert.equal(1, #sim.provider("openrouter").asked[1].body.messages)
  end)

  it("goes on with a completion's prompt", function()
    breaks("mistral", "reset", { text = { "one ", "two " } })
    sim.provider("openrouter"):answers(200, { text = "three" })
    local result = sim.run(ask, { stream = true, endpoint = "completions" })
    assert.equal("Helloone two ", sim.provider("openrouter").asked[1].body.prompt)
    assert.equal("complete", result.ended)
  end)

  it("writes the beginning as it is told", function()
    local own = continue({ "mistral/a", "openrouter/b" }, { prefill = function(body, said)
      table.insert(body.messages, { role = "assistant", content = said, prefix = true })
    end })
    breaks("mistral", "reset", { text = { "one ", "two " } })
    sim.run(own, streamed)
    assert.is_true(sim.provider("openrouter").asked[1].body.messages[2].prefix)
  end)

  it("keeps to the filters around it, on both sides of the seam", function()
    local function shouting(req)
      local res, err = ask(req)
      return res and res:map(function(event)
        if event.kind == "content" then event.text = event.text:upper() end
        return event
      end), err
    end
    breaks("mistral", "reset", { text = { "one ", "two " } })
    sim.provider("openrouter"):answers(200, { text = { "three ", "four" } })
    assert.equal("ONE TWO THREE FOUR", sim.run(shouting, streamed).text)
  end)

  it("tells on_end once, with the tokens of both", function()
    local ends = {}
    local function counted(req)
      local res, err = ask(req)
      return res and res:on_end(function(result) ends[#ends + 1] = result end), err
    end
    local usage = ',"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}'
    breaks("mistral", "raw", { body = {
      'data: {"choices":[{"index":0,"delta":{"content":"one "}}]' .. usage .. "}\n\n" } })
    sim.provider("openrouter"):answers(200,
      { text = "two", usage = { prompt = 6, completion = 3 } })
    sim.run(counted, streamed)
    assert.equal(1, #ends)
    assert.equal("ok", ends[1].code)
    assert.equal(16, ends[1].usage.total_tokens)
  end)

  it("does nothing for plain answers", function()
    sim.provider("mistral"):answers("truncated")
    sim.provider("openrouter"):answers(200, { text = "whole" })
    assert.equal("whole", sim.run(ask).text)
  end)

  it("stops when the request itself is wrong", function()
    sim.provider("mistral"):answers(400)
    assert.same({ "mistral/a" }, sim.run(ask, streamed).targets)
  end)
end)

describe("res:on_break", function()
  before_each(function()
    for _, name in ipairs { "first", "second", "third" } do sim.provider(name) end
  end)

  local function with(fn)
    return function(req)
      local res, err = req:send("first/a")
      return res and res:on_break(function(said, why) return fn(req, said, why) end), err
    end
  end

  local function run(fn)
    sim.provider("first"):answers("reset", { after = 1, text = { "one ", "x" } })
    return sim.run(with(fn), { stream = true })
  end

  it("is told what was said and why it broke", function()
    local seen = {}
    run(function(req, said, why)
      seen = { said = said, code = why.code, trail = req.trail[1].code, target = why.target }
    end)
    assert.same({ said = "one ", code = "reset", trail = "broken", target = "first/a" }, seen)
  end)

  it("may wait, and sends as the policy does", function()
    local result = run(function(req)
      weir.sleep(3)
      return req:race({ "second/b", "third/c" }, { after = 1 })
    end)
    assert.equal("one Hello from second", result.text)
    assert.equal(3, result.seconds)
  end)

  it("sees who broke, though others lost a race with it", function()
    local codes
    sim.provider("first"):answers("reset", { after = 1, latency = 2, text = { "one ", "x" } })
    sim.provider("second"):answers("stall")
    sim.run(function(req)
      local res, err = req:race({ "first/a", "second/b" }, { after = 1 })
      return res and res:on_break(function()
        codes = req.trail[1].code .. " " .. req.trail[2].code
      end), err
    end, { stream = true })
    assert.equal("broken cancelled", codes)
  end)

  it("leaves the break as it was when it raises", function()
    local result = run(function() error("oh") end)
    assert.equal("stream_truncated", result.error.code)
    local line = result.log[#result.log - 1]
    assert.equal("on_break_error", line.event)
    assert.truthy(line.error:find("oh", 1, true))
  end)

  it("leaves the break as it was when it gives what cannot go on", function()
    for _, given in ipairs {
      function(req) return req:reply(200, "hello") end,
      function() return "text" end,
      function(req)
        local res = req:send("second/b")
        req:send("third/c")
        return res
      end,
    } do
      sim.reset()
      sim.provider("second"):answers(200)
      sim.provider("third"):answers(200)
      local result = run(given)
      assert.equal("stream_truncated", result.error.code)
      assert.equal("cut", result.ended)
    end
  end)

  it("leaves the break as it was when it runs for ever", function()
    local result = run(function() while true do pcall(function() end) end end)
    assert.equal("stream_truncated", result.error.code)
    assert.equal("on_break_error", result.log[#result.log - 1].event)
  end)

  it("drops a send that it does not give back", function()
    local result = run(function(req)
      req:send("second/b")
      return nil
    end)
    assert.equal("stream_truncated", result.error.code)
    assert.equal(0, weir.target("second/b"):inflight())
  end)

  it("asks the functions one after the other", function()
    local function policy(req)
      local res, err = req:send("first/a")
      if not res then return nil, err end
      res:on_break(function() return nil end)
      return res:on_break(function() return req:send("second/b") end)
    end
    sim.provider("first"):answers("reset", { after = 1, text = { "one ", "x" } })
    assert.equal("one Hello from second", sim.run(policy, { stream = true }).text)
  end)

  it("ends with the client, whatever it waits for", function()
    sim.provider("first"):answers("reset", { after = 1, text = { "one ", "x" } })
    sim.provider("second"):answers("stall")
    local result = sim.run(with(function(req) return req:send("second/b") end),
      { stream = true, leaves = 2 })
    assert.equal("left", result.ended)
    assert.equal("cancelled", result.code)
  end)

  it("lets the new response's own filters come first", function()
    local function policy(req)
      local res, err = req:send("first/a")
      if not res then return nil, err end
      res:map(function(event)
        if event.kind == "content" then event.text = event.text .. "<" end
        return event
      end)
      return res:on_break(function()
        local more = req:send("second/b")
        return more and more:map(function(event)
          if event.kind == "content" then event.text = event.text:upper() end
          return event
        end)
      end)
    end
    sim.provider("first"):answers("reset", { after = 1, text = { "one", "x" } })
    sim.provider("second"):answers(200, { text = { "two" } })
    assert.equal("one<TWO<", sim.run(policy, { stream = true }).text)
  end)
end)
