-- What an attempt is charged: the provider's word, and what was seen where that is missing.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

local CLOSE = { Connection = "close" }
local EARLY = 'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
  .. '{"role":"assistant","content":""}}],"usage":{"prompt_tokens":9,"completion_tokens":%d,'
  .. '"total_tokens":%d}}\n\n'

describe("an attempt is charged", function()
  local w, first, gateway, headers

  local function start(options)
    gateway = w:gateway(options or { more = ledger.CONFIG })
    headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
  end

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)
  after_each(function() w:close() end)

  local function ask(members, path)
    return gateway:request { path = path, body = ledger.request(members), headers = headers }
  end

  --- The latest request, which agrees with what its key has spent.
  local function latest()
    local list = ledger.ask(gateway, "requests").requests
    local row = ledger.ask(gateway, "requests", list[1].id)
    local key = ledger.ask(gateway, "keys", "show", "alice")
    assert.same({ row.cost, 0 }, { key.spent, key.reserved })
    return row
  end

  local function answered(status, body, members, path)
    local client = ask(members, path)
    first:answer(status, body, CLOSE)
    client:read_response()
    return latest()
  end

  --- The row of a stream that is cut behind these events.
  local function cut(...)
    local client = ask { stream = true }
    local connection = first:stream(...)
    connection:close()
    client:read_response()
    gateway:wait_log("event=request", "code=stream_truncated")
    return latest()
  end

  local function plain(message, usage)
    return cjson.encode { id = "x", object = "chat.completion", created = 1, model = "m",
      choices = { { index = 0, message = message, finish_reason = "stop" } }, usage = usage }
  end

  describe("by tokens", function()
    before_each(function() start() end)

    it("for the tool calls of a cut stream", function()
      local call = '{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"abc",'
        .. '"arguments":"%s"}}]}'
      local row = cut(openai.event(call:format(("x"):rep(297))))
      assert.equal(100, row.completion)
      assert.is_true(row.estimated)
    end)

    it("for what was written after an early usage, when it is cut", function()
      local row = cut(EARLY:format(0, 9), openai.content(("x"):rep(300)))
      assert.same({ 9, 100, true }, { row.prompt, row.completion, row.estimated })
    end)

    it("what usage said with every event, when it is cut", function()
      local told = openai.content(("x"):rep(300)):gsub("}\n\n$",
        ',"usage":{"prompt_tokens":9,"completion_tokens":70,"total_tokens":79}}\n\n')
      local row = cut(told)
      assert.same({ 9, 70, false }, { row.prompt, row.completion, row.estimated })
    end)

    it("what an early usage said, when it is whole", function()
      local client = ask { stream = true }
      local connection = first:stream(EARLY:format(3, 12), openai.content(("x"):rep(300)),
        openai.finish, openai.done)
      connection:finish_stream()
      client:read_response()
      local row = latest()
      assert.same({ 9, 3, false }, { row.prompt, row.completion, row.estimated })
    end)

    it("for a plain answer that tells no usage", function()
      local row = answered(200, plain { role = "assistant", content = ("x"):rep(300) })
      assert.same({ 100, true }, { row.completion, row.estimated })
      assert.is_true(row.prompt > 0)
    end)

    it("nothing for an error that comes with status 200", function()
      local row = answered(200, openai.failure("no"))
      assert.same({ 0, false }, { row.cost, row.estimated })
    end)

    it("nothing for an error that is a stream's first event", function()
      local client = ask { stream = true }
      first:stream("data: " .. openai.failure("no") .. "\n\n"):finish_stream()
      client:read_response()
      assert.equal(0, latest().cost)
    end)

    it("the usage that comes with an error", function()
      for _, status in ipairs { 200, 400 } do
        local body = openai.failure("no"):gsub("}$", ',"usage":{"prompt_tokens":9}}')
        local before = ledger.ask(gateway, "keys", "show", "alice").spent
        local client = ask()
        first:answer(status, body, CLOSE)
        client:read_response()
        assert.equal(9, ledger.ask(gateway, "keys", "show", "alice").spent - before)
      end
    end)

    it("nothing for a redirection", function()
      assert.equal(0, answered(302, "").cost)
    end)

    it("for thoughts that usage tells of in the total alone, or apart", function()
      local row = answered(200, plain({ role = "assistant", content = "x" }, { prompt_tokens = 10,
        completion_tokens = 20, total_tokens = 100 }))
      assert.same({ 90, 190, false }, { row.completion, row.cost, row.estimated })
    end)

    it("for thoughts that are told apart, without a total", function()
      local row = answered(200, plain({ role = "assistant", content = "x" }, { prompt_tokens = 10,
        completion_tokens = 20, completion_tokens_details = { reasoning_tokens = 70 } }))
      assert.same({ 90, 190 }, { row.completion, row.cost })
    end)

    it("what embeddings used, which is no guess", function()
      for _, usage in ipairs { { prompt_tokens = 7, total_tokens = 7 }, { prompt_tokens = 7 },
        { total_tokens = 7 } } do
        local client = gateway:request { path = "/v1/embeddings", headers = headers,
          body = '{"model":"default","input":"hi"}' }
        first:answer(200, cjson.encode { object = "list", data = { { object = "embedding",
          index = 0, embedding = { 1 } } }, usage = usage }, CLOSE)
        client:read_response()
        local row = ledger.ask(gateway, "requests").requests[1]
        assert.same({ 7, 0, 7, false }, { row.prompt, row.completion, row.cost, row.estimated })
      end
    end)

    it("no number that is written as nobody counts", function()
      local row = answered(200, (plain({ role = "assistant", content = "x" }, { prompt_tokens = 7,
        completion_tokens = 5 }):gsub('"prompt_tokens":7', '"prompt_tokens":1.5e3')))
      assert.is_true(row.estimated)
      assert.is_true(row.prompt > 7)
    end)
  end)

  describe("by a provider that says what it charges", function()
    --- OpenRouter's, of a model that the table does not have.
    local function say(cost, prices)
      start { models = 'default = waterfall { "router/x" }, ["*"] = waterfall { "router/*" },',
        more = ('  workers = 1, keys = "ledger", prices = { %s },'):format(prices or ""),
        providers = ('router = { type = "openrouter", base_url = "%s", key = weir.env "KEY" },')
          :format(first.url) }
      return answered(200, plain({ role = "assistant", content = "x" }, { prompt_tokens = 100,
        completion_tokens = 10, total_tokens = 110, cost = cost }))
    end

    it("that, to the micro-dollar", function()
      assert.same({ 421, false }, { say(0.000421).cost, latest().estimated })
    end)

    it("nothing, where it says so", function()
      assert.equal(0, say(0).cost)
    end)

    it("by tokens where weir.lua names a price", function()
      assert.equal(120, say(0.5, '["router/x"] = { input = 1, output = 2 }').cost)
    end)
  end)

  it("by tokens where the provider is not one that says what it charges", function()
    start()
    assert.equal(120, answered(200, plain({ role = "assistant", content = "x" },
      { prompt_tokens = 100, completion_tokens = 10, cost = 0 })).cost)
  end)
end)
