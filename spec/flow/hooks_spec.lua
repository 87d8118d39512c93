-- Every member that a policy sees, at every endpoint, plain and streamed, on a fresh connection and
-- on one that was used before: that it is there, and that what it gives takes effect.

local http = require("spec.support.http")
local libc = require("spec.support.libc")
local world = require("spec.support.world")

local SPOKEN = { chat = "messages", completions = "prompt", embeddings = "input" }
local PATHS = { chat = "/v1/chat/completions", completions = "/v1/completions",
  embeddings = "/v1/embeddings" }

-- ---- what a provider says ----

local function event(cell, text, finish)
  local said = cell.endpoint == "chat" and ('"delta":{"content":"%s"}'):format(text)
    or ('"text":"%s"'):format(text)
  return ('data: {"id":"1","choices":[{"index":0,%s,"finish_reason":%s}]}\n\n'):format(said,
    finish and '"stop"' or "null")
end

local function whole(cell, text)
  if cell.endpoint == "embeddings" then
    return '{"object":"list","data":[{"index":0,"embedding":[0.5]}],"usage":{"total_tokens":3}}'
  end
  local said = cell.endpoint == "chat" and ('"message":{"content":"%s"}'):format(text)
    or ('"text":"%s"'):format(text)
  return ('{"id":"1","choices":[{"index":0,%s,"finish_reason":"stop"}]}'):format(said)
end

local function answer(connection, cell, text)
  if not cell.stream then
    connection:respond(200, whole(cell, text))
    return
  end
  connection:start_stream()
  connection:send_chunk(event(cell, text) .. event(cell, "", true) .. "data: [DONE]\n\n")
  connection:finish_stream()
end

--- Half of a stream; the rest never comes.
local function break_off(connection, cell)
  connection:start_stream()
  connection:send_chunk(event(cell, "half "))
  connection:close()
end

-- ---- what the client gets ----

local function text_of(response)
  local text = ""
  for piece in response.body:gmatch('"[ct][oe][nx]t%l*":"([^"]*)"') do text = text .. piece end
  return text
end

local function says(wanted)
  return function(response) assert.equal(wanted, text_of(response)) end
end

--- The members of a table that the policy replied with.
local function told(check)
  return function(response, ...)
    return check(response.json, response, ...)
  end
end

local REPLIED = 'return req:reply(200, { %s })'

--- covers: members of lua/meta/weir.lua; policy: of (req); check: of (response, what the provider
--- was sent, cell, gateway); asked: what the provider does each time it is asked, else "answer";
--- texts: not for embeddings, which say nothing; streams: for streams alone.
local rows = {
  { "send", covers = { "Request.send" }, asked = { "answer" },
    policy = 'return req:send("first/m")',
    check = function(response, sent, cell)
      assert.equal("first/m", response.headers["x-weir-target"])
      assert.equal("m", sent[1].json.model)
      if cell.endpoint ~= "embeddings" then assert.equal("hello", text_of(response)) end
    end },
  { "send's edit", covers = {}, asked = { "answer" },
    policy = 'return req:send("first/m", { edit = function(body) body.user = "edited" end })',
    check = function(_, sent) assert.equal("edited", sent[1].json.user) end },
  { "send's commit", covers = {}, asked = { "break" }, streams = true,
    policy = [[weir.target("first/m"):uncool()
      local _, err = req:send("first/m", { commit = "whole" })
      return req:reply(200, { code = err.code })]],
    check = told(function(said) assert.truthy(said.code) end) },
  { "send's err", covers = {}, asked = {},
    policy = 'local res, err = req:send("gone/m")\n'
      .. REPLIED:format("none = res == nil, code = err.code, target = err.target"),
    check = told(function(said)
      assert.same({ none = true, code = "refused", target = "gone/m" }, said)
    end) },
  { "race", covers = { "Request.race" }, asked = { "answer" },
    policy = 'return req:race({ "gone/m", "first/m" }, { after = 60 })',
    check = function(response)
      assert.equal("first/m", response.headers["x-weir-target"])
      assert.equal("2", response.headers["x-weir-attempts"])
    end },
  { "shadow", covers = { "Request.shadow" }, asked = { "answer", "answer" },
    policy = 'req:shadow("first/copy")\nreturn req:send("first/m")',
    check = function(response, sent, _, gateway)
      local models = { [sent[1].json.model] = true, [sent[2].json.model] = true }
      assert.same({ m = true, copy = true }, models)
      assert.equal("first/m", response.headers["x-weir-target"])
      gateway:wait_log("event=shadow", "id=" .. response.headers["x-request-id"], "outcome=ok")
    end },
  { "available", covers = { "Request.available", "weir.target" }, asked = {},
    policy = 'weir.target("first/cold"):cool(60)\n'
      .. REPLIED:format('list = req:available { "first/cold", "first/m" }'),
    check = told(function(said) assert.same({ "first/m" }, said.list) end) },
  { "reply", covers = { "Request.reply" }, asked = {}, texts = true,
    policy = 'return req:reply(200, "of the house")',
    check = says("of the house") },
  { "reply's headers", covers = {}, asked = {},
    policy = [[local reply = req:reply(403, "no")
      reply.headers["x-why"] = "because"
      return reply]],
    check = function(response)
      assert.equal(403, response.status)
      assert.equal("because", response.headers["x-why"])
    end },
  { "body, read", covers = { "Request.body" }, asked = {},
    policy = REPLIED:format("model = req.body.model, seed = req.body.seed"),
    check = told(function(said) assert.equal(7, said.seed) end) },
  { "body, written", covers = {}, asked = { "answer" },
    policy = 'req.body.user, req.body.seed = "written", nil\nreturn req:send("first/m")',
    check = function(_, sent)
      assert.equal("written", sent[1].json.user)
      assert.is_nil(sent[1].json.seed)
    end },
  { "fields", covers = { "Request.id", "Request.endpoint", "Request.model", "Request.stream",
      "Request.generation" }, asked = {},
    policy = REPLIED:format("id = req.id, endpoint = req.endpoint, model = req.model, "
      .. "stream = req.stream, generation = req.generation"),
    check = told(function(said, response, _, cell)
      assert.same({ id = response.headers["x-request-id"], endpoint = cell.endpoint,
        model = cell.model, stream = cell.stream, generation = 1 }, said)
    end) },
  { "headers", covers = { "Request.headers" }, asked = {},
    policy = REPLIED:format('hook = req.headers["x-hook"], key = req.headers.authorization'),
    check = told(function(said) assert.same({ hook = "here" }, said) end) },
  { "key", covers = { "Request.key" }, asked = {}, policy = REPLIED:format("name = req.key.name"),
    check = told(function(said) assert.truthy(said.name:find("CLIENT", 1, true)) end) },
  { "trail", covers = { "Request.trail" }, asked = {},
    policy = 'req:send("gone/m")\n' .. REPLIED:format("code = req.trail[1].code, n = #req.trail"),
    check = told(function(said) assert.same({ code = "refused", n = 1 }, said) end) },
  { "res's fields", covers = { "Response.status", "Response.target", "Response.headers",
      "Response.stream" }, asked = { "answer" },
    policy = 'local res = req:send("first/m")\n' .. REPLIED:format(
      'status = res.status, target = res.target, type = res.headers["content-type"], '
      .. "stream = res.stream"),
    check = told(function(said, _, _, cell)
      assert.equal(200, said.status)
      assert.equal("first/m", said.target)
      assert.equal(cell.stream, said.stream)
      assert.truthy(said.type:find(cell.stream and "event-stream" or "json", 1, true))
    end) },
  { "map", covers = { "Response.map" }, asked = { "answer" }, texts = true,
    policy = [[return req:send("first/m"):map(function(event)
        if event.text then event.text = event.text:upper() end
        return event
      end)]],
    check = says("HELLO") },
  { "map, several events of one", covers = {}, asked = { "answer" }, texts = true,
    policy = [[return req:send("first/m"):map(function(event)
        if event.text ~= "hello" then return event end
        return { event, event:copy(" again") }
      end)]],
    check = says("hello again") },
  { "a filter that waits", covers = {}, asked = { "answer" }, texts = true,
    policy = [[return req:send("first/m"):map(function(event)
        weir.sleep(0.001)
        if event.text then event.text = event.text .. "!" end
        return event
      end)]],
    check = function(response) assert.truthy(text_of(response):find("^hello!")) end },
  { "window", covers = { "weir.window" }, asked = { "answer" }, texts = true,
    policy = [[local window = weir.window(4)
      return req:send("first/m"):map(function(event)
        return window:map(event, function(text, init)
          local from, to = text:find("ell", init, true)
          return from, to, "ipp"
        end)
      end)]],
    check = says("hippo") },
  { "on_end", covers = { "Response.on_end", "weir.log" }, asked = { "answer" },
    policy = [[return req:send("first/m"):on_end(function(result)
        weir.log.info("ended", { how = result.code })
      end)]],
    check = function(response, _, _, gateway)
      gateway:wait_log("says=ended", "id=" .. response.headers["x-request-id"], "how=ok")
    end },
  { "on_break", covers = { "Response.on_break" }, asked = { "break", "answer" }, streams = true,
    policy = [[weir.target("first/m"):uncool()
      return req:send("first/m"):on_break(function(said)
        return req:send("first/n", { edit = function(body) body.user = said end })
      end)]],
    check = function(response, sent)
      assert.equal("half hello", text_of(response))
      assert.equal("half ", sent[2].json.user)
    end },
  { "sleep", covers = { "weir.sleep", "weir.now", "weir.time" }, asked = {},
    policy = [[local before = weir.now()
      weir.sleep(0.002)
      return req:reply(200, { slept = weir.now() - before, time = weir.time() })]],
    check = told(function(said)
      assert.is_true(said.slept >= 0.002)
      assert.is_true(said.time > 1.7e9)
    end) },
  { "fetch", covers = { "weir.fetch" }, asked = { "answer" },
    policy = 'local res = assert(weir.fetch { url = HOOK .. "/hook", body = { id = req.id } })\n'
      .. REPLIED:format("status = res.status, size = #res.body"),
    check = told(function(said, response, sent)
      assert.same({ "/hook", response.headers["x-request-id"] }, { sent[1].path, sent[1].json.id })
      assert.equal(200, said.status)
      assert.is_true(said.size > 20)
    end) },
  { "shared", covers = { "weir.shared" }, asked = {},
    policy = REPLIED:format('count = weir.shared("hooks"):incr(req.headers["x-cell"])'),
    check = told(function(said, _, _, cell) assert.equal(cell.reused and 2 or 1, said.count) end) },
  { "metric", covers = { "weir.metric" }, asked = {},
    policy = 'weir.metric("hooks", 1, { cell = req.headers["x-cell"] })\n'
      .. REPLIED:format("ok = true"),
    check = function(_, _, cell, gateway)
      local text = gateway:ask_admin("/metrics")
      local line = ('cell="%s"} %d\n'):format(cell.name, cell.reused and 2 or 1)
      assert.truthy(text:find(line, 1, true))
    end },
  { "json", covers = { "weir.json" }, asked = {},
    policy = REPLIED:format('text = weir.json.encode(weir.json.decode("[1,null]"))'),
    check = told(function(said) assert.equal("[1,null]", said.text) end) },
  { "targets, env and file", covers = { "weir.targets", "weir.env", "weir.file" }, asked = {},
    policy = REPLIED:format('list = weir.targets { "first/m" }, env = weir.env("CLIENT").is_set, '
      .. 'file = tostring(type(weir.file))'),
    check = told(function(said)
      assert.same({ list = { "first/m" }, env = true, file = "function" }, said)
    end) },
}

-- ---- the cells ----

local function config(w, up)
  local models = {}
  for i, row in ipairs(rows) do
    models[i] = ("    row%d = function(req)\n      %s\n    end,"):format(i, row.policy)
  end
  local server = ("http://127.0.0.1:%d"):format(up.port)
  return w:config { before = ("local HOOK = %q"):format(server),
    more = '  workers = 1, keys = { weir.env "CLIENT" },'
      .. " policy = { burst = 1, fetch = { { HOOK, private = true } } },",
    providers = '    gone = { type = "openai", base_url = "http://127.0.0.1:1/v1" },',
    models = table.concat(models, "\n"), provider = { [up.name] = 'key = weir.env "KEY"' } }
end

describe("for a policy", function()
  local w, first, gateway

  setup(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { config = config(w, first), env = { CLIENT = "client-key" } }
  end)

  teardown(function() w:close() end)

  --- The provider's next connection with a request: one that is kept, or a new one.
  local function next_connection()
    local deadline = libc.deadline(5)
    while libc.now() < deadline do
      for _, connection in ipairs(first.connections) do
        if connection.fd and connection:is_readable() and not connection:is_closed() then
          return connection, true
        end
      end
      if first.listener:is_readable() then return first:accept(), false end
    end
    error("the provider was not asked")
  end

  local function ask(client, row, cell)
    local body = { model = cell.model, seed = 7, stream = cell.stream or nil }
    body[SPOKEN[cell.endpoint]] = cell.endpoint == "chat"
      and { { role = "user", content = "hi" } } or "hi"
    client:request { path = PATHS[cell.endpoint], body = body, headers = {
      Authorization = "Bearer client-key", ["X-Hook"] = "here", ["X-Cell"] = cell.name } }
    local sent, kept = {}, false
    for i, what in ipairs(row.asked) do
      local connection, was_kept = next_connection()
      sent[i], kept = connection:read_request(), kept or was_kept
      if what == "break" then break_off(connection, cell) else answer(connection, cell, "hello") end
    end
    return client:read_response(), sent, kept
  end

  local function play(row, cell)
    local client = gateway:connect()
    local response, sent = ask(client, row, cell)
    if cell.reused then
      local kept
      response, sent, kept = ask(client, row, cell)
      -- a stream's connection is free a moment after its last event
      if row.asked[1] == "answer" and not cell.stream then
        assert.is_true(kept, "the provider's was not kept")
      end
    end
    row.check(response, sent, cell, gateway)
    client:close()
  end

  for i, row in ipairs(rows) do
    for _, endpoint in ipairs { "chat", "completions", "embeddings" } do
      for _, stream in ipairs { false, true } do
        local fits = not (endpoint == "embeddings" and (stream or row.texts))
          and (stream or not row.streams)
        for _, reused in ipairs { false, true } do
          local name = ("%s, %s%s, %s connection"):format(row[1], endpoint,
            stream and " streamed" or "", reused and "reused" or "fresh")
          if fits then
            it(name, function()
              play(row, { endpoint = endpoint, stream = stream, reused = reused,
                model = "row" .. i, name = name })
            end)
          end
        end
      end
    end
  end

  it("embeddings cannot be streamed: asked for, they are plain", function()
    local client = gateway:connect()
    client:request { path = PATHS.embeddings, headers = { Authorization = "Bearer client-key" },
      body = '{"model":"row1","input":"hi","stream":true}' }
    local connection = next_connection()
    connection:read_request()
    connection:respond(200, whole { endpoint = "embeddings" })
    local response = client:read_response()
    assert.equal("application/json", response.headers["content-type"])
    assert.truthy(http.decode(response.body).data)
    client:close()
  end)
end)

describe("the table of hooks", function()
  it("has a row for every member of lua/meta/weir.lua", function()
    local file = assert(io.open("lua/meta/weir.lua"))
    local meta, covered = file:read("*a"), {}
    file:close()
    for _, row in ipairs(rows) do
      for _, member in ipairs(row.covers) do covered[member] = true end
    end
    local names = {}
    for class, name in meta:gmatch("\nfunction (%u%l+):([%w_]+)%(") do
      if class == "Request" or class == "Response" then names[class .. "." .. name] = true end
    end
    for name in meta:gmatch("\nfunction weir%.([%w_]+)[.(]") do names["weir." .. name] = true end
    for _, class in ipairs { "Request", "Response" } do
      local block = meta:match("%-%-%-@class weir%." .. class .. "\n(.-)\nlocal")
      for name in block:gmatch("@field ([%w_]+)") do names[class .. "." .. name] = true end
    end
    for name in pairs(names) do assert(covered[name], name .. " has no row") end
    for name in pairs(covered) do assert(names[name], name .. " is no member") end
  end)
end)
