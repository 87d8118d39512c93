local sim = require("weir.sim")

--- What becomes of a stream of "first" in that mode; "second" stands by.
local function run(commit, timeout)
  sim.provider("second"):answers(200, { text = "spare" })
  return sim.run(function(req)
    local res, err = req:send("first/a", { commit = commit, timeout = timeout })
    if res then return res end
    return req:send(err.target == "first/a" and "second/b" or "first/a")
  end, { stream = true })
end

local THINKS = { reasoning = { "hm ", "so " }, text = { "one ", "two" }, interval = 1 }

local function thinks(more)
  local answer = {}
  for name, value in pairs(THINKS) do answer[name] = value end
  for name, value in pairs(more or {}) do answer[name] = value end
  return answer
end

describe("a commit at the first content", function()
  for _, mode in ipairs { "first", false } do
    it("begins with the thoughts: " .. tostring(mode), function()
      sim.provider("first"):answers(200, thinks())
      assert.equal(1, run(mode or nil).first)
    end)
  end

  it("cannot go back when what follows fails", function()
    sim.provider("first"):answers("reset", thinks { after = 2 })
    local result = run("first")
    assert.equal("cut", result.ended)
    assert.same({ "first/a" }, result.targets)
  end)
end)

describe("a commit at the content", function()
  it("begins when the thoughts are over, and shows them", function()
    sim.provider("first"):answers(200, thinks())
    local result = run("content")
    assert.equal(3, result.first)
    assert.equal("hm so ", result.reasoning)
    assert.equal("one two", result.text)
    assert.equal("complete", result.ended)
  end)

  for how, options in pairs { reset = {}, truncated = {}, stall = {}, error = {} } do
    it("goes on when the thoughts break off: " .. how, function()
      options.after = 2
      sim.provider("first"):answers(how, thinks(options))
      local result = run("content")
      assert.same({ "first/a", "second/b" }, result.targets)
      assert.equal("spare", result.text)
      assert.equal("", result.reasoning)
    end)
  end

  it("takes thoughts without an answer for a failure", function()
    sim.provider("first"):answers("raw", { body = {
      'data: {"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}\n\n', "data: [DONE]\n\n",
    } })
    assert.equal("second/b", run("content").target)
  end)

  it("commits with a tool call", function()
    sim.provider("first"):answers(200, { text = {}, tool = { name = "f" }, interval = 1 })
    assert.equal("first/a", run("content").target)
  end)

  it("lets the first clock run until then", function()
    sim.provider("first"):answers(200, thinks())
    local result = run("content", { first = 2.5 })
    assert.same({ "first/a", "second/b" }, result.targets)
    assert.equal(2.5, result.first)
  end)

  it("lets the idle clock run between thoughts", function()
    sim.provider("first"):answers("stall", thinks { after = 2 })
    assert.equal(7, run("content", { idle = 5 }).first)
  end)
end)

describe("a commit at the end", function()
  it("begins when all has come, and is the same stream", function()
    sim.provider("first"):answers(200, thinks())
    local whole = run("whole")
    assert.equal(4, whole.first)
    assert.equal("complete", whole.ended)
    sim.reset()
    sim.provider("first"):answers(200, thinks())
    assert.equal(run("first").body, whole.body)
  end)

  for how, options in pairs { reset = {}, truncated = {}, stall = {}, error = {} } do
    it("goes on when the stream breaks: " .. how, function()
      options.after = 4
      sim.provider("first"):answers(how, thinks(options))
      local result = run("whole")
      assert.same({ "first/a", "second/b" }, result.targets)
      assert.equal("spare", result.text)
      assert.equal("complete", result.ended)
    end)
  end

  it("goes on when garbage comes late", function()
    sim.provider("first"):answers("raw", { body = {
      'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n', "data: {oh\n\n",
    } })
    assert.equal("second/b", run("whole").target)
  end)

  it("knows an end without [DONE] by its finish", function()
    local body = {
      'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n',
      'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    }
    sim.provider("first"):answers("raw", { body = body })
    local result = run("whole")
    assert.equal("first/a", result.target)
    assert.equal(table.concat(body), result.body)
    assert.equal("complete", result.ended)
  end)

  it("takes no more than 16 MiB", function()
    local piece = ('data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n')
      :format(("x"):rep(1024 * 1024))
    local body = {}
    for i = 1, 17 do body[i] = piece end
    sim.provider("first"):answers("raw", { body = body })
    local result = run("whole")
    assert.equal("second/b", result.target)
    assert.truthy(result.trail[1].message:find("too much", 1, true))
  end)

  it("lets the first clock run until then", function()
    sim.provider("first"):answers(200, thinks())
    assert.equal("second/b", run("whole", { first = 3.5 }).target)
  end)

  it("is what filters see, as they would at once", function()
    sim.provider("first"):answers(200, thinks())
    local result = sim.run(function(req)
      local res, err = req:send("first/a", { commit = "whole" })
      return res and res:map(function(event)
        if event.text then event.text = event.text:upper() end
        return event
      end), err
    end, { stream = true })
    assert.equal("ONE TWO", result.text)
  end)

  it("leaves a plain answer as it is", function()
    sim.provider("first"):answers(200, { text = "plain" })
    local result = sim.run(function(req) return req:send("first/a", { commit = "whole" }) end)
    assert.equal("plain", result.text)
  end)

  it("does not make a target look slow", function()
    sim.provider("first"):answers(200, thinks())
    run("whole")
    assert.equal(1, require("weir").target("first/a"):latency())
  end)

  it("decides a race", function()
    sim.provider("first"):answers(200, { text = { "a", "b" }, interval = 5 })
    sim.provider("second"):answers(200, { text = { "c", "d" }, interval = 1 })
    local result = sim.run(function(req)
      return req:race({ "first/a", "second/b" }, { after = 2, commit = "whole" })
    end, { stream = true })
    assert.equal("second/b", result.target)
    assert.equal(4, result.first)
  end)
end)

describe("the commit option", function()
  it("says what it may be", function()
    sim.provider("first")
    for _, wrong in ipairs { "last", 5, true } do
      local result = sim.run(function(req)
        local _, why = pcall(req.send, req, "first/a", { commit = wrong })
        return req:reply(200, { why = why })
      end)
      assert.truthy(result.json.why:find('commit must be "first", "content" or "whole"', 1, true))
    end
  end)
end)
