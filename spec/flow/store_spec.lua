-- Prompts and answers: stored where the configuration asks and the key chooses, apart, for a time.

local cjson = require("cjson")
local described = require("spec.support.described")
local ledger = require("spec.support.ledger")
local lfs = require("lfs")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local schema = require("spec.support.schema")
local support = require("spec.support.gateway")
local world = require("spec.support.world")

local STORE = ' ledger = { store = { keep = "30d" } }, log = { level = "debug" },'
local CLOSE = { Connection = "close" }

--- The files below a folder that have the text in them.
local function files_with(folder, text, found)
  found = found or {}
  for name in lfs.dir(folder) do
    local path = folder .. "/" .. name
    local mode = lfs.attributes(path, "mode")
    if mode == "directory" and name ~= "." and name ~= ".." then
      files_with(path, text, found)
    elseif mode == "file" then
      local file = assert(io.open(path, "rb"))
      if file:read("*a"):find(text, 1, true) then found[#found + 1] = name end
      file:close()
    end
  end
  return found
end

describe("stored texts", function()
  local w, first, gateway

  local function start(options)
    options = options or {}
    options.more = ledger.CONFIG .. (options.more or STORE)
    gateway = w:gateway(options)
  end

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)
  after_each(function() w:close() end)

  local function ask(headers, members)
    return gateway:request { body = ledger.request(members), headers = headers }
  end

  local function say(text, members)
    local body = { messages = { { role = "user", content = text } } }
    for name, value in pairs(members or {}) do body[name] = value end
    return body
  end

  --- A request that is answered; gives its id.
  local function serve(headers, prompt, answer)
    local client = ask(headers, say(prompt))
    first:answer(200, openai.answer(answer), CLOSE)
    local response = client:read_response()
    return response.headers["x-request-id"], response
  end

  local function stream(headers, ...)
    local client = ask(headers, say("prompt", { stream = true }))
    first:stream(...):finish_stream()
    return client:read_response().headers["x-request-id"]
  end

  local function texts(id)
    local kept = ledger.ask(gateway, "requests", id, "--texts")
    schema.check(described.document.components.schemas.Texts, kept, "texts", described.document)
    return kept
  end

  local function said(id)
    local list = {}
    for i, part in ipairs(texts(id).answer.parts) do list[i] = { part.kind, part.text } end
    return list
  end

  local function holds(text) return files_with(gateway.folder .. "/data", text) end

  --- Waits until so many texts were removed: a prompt and its answer are of different
  --- milliseconds, so a look may find the time of one over and the other's not.
  local function wait_removed(texts_removed)
    gateway.process:wait_for("err", function(log)
      local sum = 0
      for count in log:gmatch("event=texts_removed texts=(%d+)\n") do sum = sum + count end
      return sum == texts_removed
    end, texts_removed .. " texts removed")
  end

  it("are none where the configuration does not ask, and then no key may", function()
    start { more = "" }
    local status, why = ledger.run(gateway, "keys", "add", "--name", "alice", "--store", "30d")
    assert.equal(2, status)
    assert.matches("store: weir.lua allows no key to store texts: ledger = { store = ", why, 1,
      true)
    local id = serve(ledger.key(gateway, "bob"), "marker-prompt", "marker-answer")
    assert.equal(1, (ledger.run(gateway, "requests", id, "--texts")))
    assert.same({}, holds("marker"))
    assert.is_nil(lfs.attributes(gateway.folder .. "/data/texts.db"))
  end)

  it("are none of a key that does not choose it, beside one that does", function()
    start()
    local alice = ledger.key(gateway, "alice", "--store", "30d")
    local bob = ledger.key(gateway, "bob")
    local id = serve(bob, "bobs-prompt", "bobs-answer")
    local kept = serve(alice, "alices-prompt", "alices-answer")
    local status, why = ledger.run(gateway, "requests", id, "--texts")
    assert.equal(1, status)
    assert.matches("nothing is stored of a request of that id", why, 1, true)
    assert.equal("alice", texts(kept).key)
    assert.same({}, holds("bobs-"))
  end)

  it("are the request as it was sent and the answer as it was got, in a file apart", function()
    start()
    local body = '{ "model":"default",  "messages":[{"role":"user","content":"h\195\164"}],"n":1.0}'
    local client = gateway:request { body = body,
      headers = (ledger.key(gateway, "alice", "--store", "30d")) }
    first:answer(200, openai.answer("hello"), CLOSE)
    local response = client:read_response()
    local kept = texts(response.headers["x-request-id"])
    assert.same({ { kind = "body", choice = 0, bytes = #body, cut = false, text = body } },
      kept.request.parts)
    assert.equal(response.body, kept.answer.parts[1].text)
    assert.matches("^%d+%-%d+%-%d+T", kept.request.ends)
    for _, name in ipairs(holds("h\195\164")) do assert.matches("^texts%.db", name) end
    assert.equal("rw-------", lfs.attributes(gateway.folder .. "/data/texts.db", "permissions"))
  end)

  it("are what filters made of the answer", function()
    start { models = [[
      default = function(req)
        local res, err = req:send("first/m")
        return res and res:map(function(event)
          if event.text then event.text = event.text:upper() end
          return event
        end), err
      end,]] }
    local headers = ledger.key(gateway, "alice", "--store", "30d")
    assert.matches('"HELLO"', texts((serve(headers, "hi", "hello"))).answer.parts[1].text, 1, true)
    local id = stream(headers, openai.content("hel"), openai.content("lo"), openai.finish,
      openai.done)
    assert.same({ { "content", "HELLO" }, { "finish", "stop" } }, said(id))
  end)

  it("are a stream's put together, tool calls by their names", function()
    start()
    local headers = ledger.key(gateway, "alice", "--store", "30d")
    local function call(index, text)
      return openai.event(('{"tool_calls":[{"index":%d,"function":{%s}}]}'):format(index, text))
    end
    local id = stream(headers, openai.role, openai.event('{"reasoning":"let me "}'),
      openai.event('{"reasoning":"see"}'), openai.content("sm\\ud83d"), openai.content("\\ude00le"),
      call(0, '"name":"weather","arguments":""'), call(0, '"arguments":"{\\"in\\":"'),
      call(0, '"arguments":"1}"'), call(1, '"name":"time","arguments":"{}"'), openai.finish,
      openai.done)
    assert.same({ { "reasoning", "let me see" }, { "content", "sm\240\159\152\128le" },
      { "tool", "weather" }, { "tool_call", '{"in":1}' }, { "tool", "time" }, { "tool_call", "{}" },
      { "finish", "stop" } }, said(id))
  end)

  it("are a stream's by choice", function()
    start()
    local function choice(index, text)
      return openai.content(text):gsub('"index":0', '"index":' .. index)
    end
    local id = stream(ledger.key(gateway, "alice", "--store", "30d"), choice(0, "one "),
      (choice(1, "an")), (choice(0, "way")), (choice(1, "other")), openai.finish, openai.done)
    local parts = texts(id).answer.parts
    assert.same({ 0, "one way", 1, "another" }, { parts[1].choice, parts[1].text, parts[2].choice,
      parts[2].text })
  end)

  it("are cut at their bound, between characters, and say so", function()
    start { more = " ledger = { store = { keep = 3600, most = 1024 } }," }
    local headers = ledger.key(gateway, "alice", "--store", "30d")
    local id, response = serve(headers, ("\195\164"):rep(2000), ("\195\164"):rep(2000))
    local kept = texts(id)
    for _, side in ipairs { kept.request, kept.answer } do
      local part = side.parts[1]
      assert.is_true(part.cut)
      assert.is_true(#part.text == 1024 or #part.text == 1023)
      assert.is_nil(part.text:find("\239\191\189", 1, true)) -- what half a character would be
    end
    assert.equal(#response.body, kept.answer.parts[1].bytes)
    id = stream(headers, openai.content("\\u00e4" .. ("\\u00e4"):rep(300)), openai.finish,
      openai.done)
    local part = texts(id).answer.parts[1]
    assert.is_true(part.cut)
    assert.equal(("\195\164"):rep(170), part.text)
  end)

  it("are cut at no half of a pair that stands for one character", function()
    start { more = " ledger = { store = { keep = 3600, most = 1024 } }," }
    local text = "\\u00e4" .. ("\\ud83d\\ude00"):rep(300)
    local id = stream(ledger.key(gateway, "alice", "--store", "30d"), openai.content(text),
      openai.finish, openai.done)
    assert.equal("\195\164" .. ("\240\159\152\128"):rep(84), texts(id).answer.parts[1].text)
  end)

  it("are what the client got of a stream that broke, and how it was told", function()
    start()
    local client = ask((ledger.key(gateway, "alice", "--store", "30d")), { stream = true })
    first:stream(openai.content("half an ans")):close()
    local response = client:read_response()
    local parts = said(response.headers["x-request-id"])
    assert.same({ "content", "half an ans" }, parts[1])
    assert.equal("error", parts[2][1])
    assert.equal("stream_truncated", cjson.decode(parts[2][2]).code)
  end)

  it("are what a client got that left", function()
    start()
    local client = ask((ledger.key(gateway, "alice", "--store", "30d")), { stream = true })
    first:stream(openai.content("a beginning"))
    local id = client:read_head().headers["x-request-id"]
    client:read_bytes(#openai.content("a beginning"))
    client:close()
    gateway:wait_log("event=request", "status=499")
    assert.same({ { "content", "a beginning" } }, said(id))
  end)

  it("are the error that a client got", function()
    start()
    local client = ask((ledger.key(gateway, "alice", "--store", "30d")), say("hi"))
    first:answer(400, openai.failure("what is this"), CLOSE)
    local response = client:read_response()
    assert.equal(400, response.status)
    assert.equal(response.body, texts(response.headers["x-request-id"]).answer.parts[1].text)
  end)

  it("are the request's while it is under way", function()
    start()
    local client = ask((ledger.key(gateway, "alice", "--store", "30d")), { stream = true })
    local connection = first:stream(openai.content("so far"))
    local id = client:read_head().headers["x-request-id"]
    local kept = texts(id)
    assert.matches('"hi"', kept.request.parts[1].text, 1, true)
    assert.is_nil(kept.answer)
    connection:send_chunk(openai.finish .. openai.done)
    connection:finish_stream()
    client:read_chunks()
    assert.same({ "content", "so far" }, said(id)[1])
  end)

  it("have nothing of copies, races that were lost, and attempts that failed", function()
    local second = w:upstream("second")
    start { models = [[
      default = function(req)
        req:shadow("second/copy")
        req:send("second/fails")
        return req:race({ "second/slow", "first/m" }, { after = 0.01 })
      end,]] }
    local client = ask((ledger.key(gateway, "alice", "--store", "30d")), say("hi"))
    for _ = 1, 2 do
      local connection, request = second:take()
      local is_copy = request.json.model == "copy"
      connection:respond(is_copy and 200 or 503, is_copy and openai.answer("marker-shadow")
        or openai.failure("marker-failure"), CLOSE)
    end
    local slow = second:take()
    slow:send("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" .. openai.answer("marker-loser"))
    first:answer(200, openai.answer("won"), CLOSE)
    local id = client:read_response().headers["x-request-id"]
    assert.matches("won", texts(id).answer.parts[1].text, 1, true)
    gateway:wait_log("event=shadow", "outcome=ok")
    assert.same({}, holds("marker"))
  end)

  it("have no credential, neither the client's nor a provider's", function()
    start { env = { KEY = "provider-secret-1" } }
    local headers, key = ledger.key(gateway, "alice", "--store", "30d")
    serve(headers, "hi", "hello")
    assert.same({}, holds(key))
    assert.same({}, holds("provider-secret-1"))
  end)

  describe("end", function()
    it("when their time is over, in every file", function()
      start()
      local id = serve(ledger.key(gateway, "alice", "--store", "30d"), "marker-prompt",
        "marker-answer")
      assert.truthy(texts(id))
      ledger.ask(gateway, "keys", "set", "alice", "--store", "1s")
      wait_removed(2)
      assert.same({}, holds("marker"))
      assert.equal(1, (ledger.run(gateway, "requests", id, "--texts")))
    end)

    it("at once when the key stores no more, those under way too", function()
      start()
      local headers = ledger.key(gateway, "alice", "--store", "30d")
      local others = serve(ledger.key(gateway, "bob", "--store", "30d"), "bobs", "hello")
      serve(headers, "marker-prompt", "marker-answer")
      local client = ask(headers, say("marker-late"))
      local connection = first:take()
      ledger.ask(gateway, "keys", "set", "alice", "--store", "none")
      assert.same({}, holds("marker"))
      connection:respond(200, openai.answer("marker-late"), CLOSE)
      local id = client:read_response().headers["x-request-id"]
      assert.equal(1, (ledger.run(gateway, "requests", id, "--texts")))
      assert.same({}, holds("marker"))
      assert.truthy(texts(others))
    end)

    it("with the configuration's time where that is the shorter, what is there too", function()
      start()
      local headers = ledger.key(gateway, "alice", "--store", "30d")
      serve(headers, "marker-prompt", "marker-answer")
      gateway:write("weir.lua", w:config { more = ledger.CONFIG
        .. ' ledger = { store = { keep = 1 } }, log = { level = "debug" },' })
      gateway:reload(2)
      wait_removed(2)
      assert.same({}, holds("marker"))
      serve(headers, "marker-prompt", "marker-answer")
      assert.equal("30d", (select(2, ledger.run(gateway, "keys", "show", "alice"))
        :match("store%s+(%S+)")))
    end)

    it("with the shorter time, though it came while they were under way", function()
      start()
      local headers = ledger.key(gateway, "alice", "--store", "30d")
      local client = gateway:request { headers = headers, body = openai.request(false) }
      local connection = first:take()
      gateway:write("weir.lua", w:config { more = ledger.CONFIG
        .. ' ledger = { store = { keep = 1 } }, log = { level = "debug" },' })
      gateway:reload(2)
      wait_removed(1)
      connection:respond(200, openai.answer("marker-late"), CLOSE)
      client:read_response()
      wait_removed(2)
      assert.same({}, holds("marker"))
    end)

    it("as they would have when their key is revoked, or nothing more is allowed", function()
      start()
      local headers = ledger.key(gateway, "alice", "--store", "30d")
      local id = serve(headers, "hi", "hello")
      gateway:write("weir.lua", w:config { more = ledger.CONFIG })
      gateway:reload(2)
      local later = serve(headers, "unstored", "hello")
      assert.same({}, holds("unstored"))
      assert.equal(1, (ledger.run(gateway, "requests", later, "--texts")))
      ledger.ask(gateway, "keys", "revoke", "alice")
      assert.equal("alice", texts(id).key)
    end)
  end)

  it("give way, the oldest first, where they need more room than the configuration has", function()
    start { more = ' ledger = { store = { keep = "30d", most = 1048576, room = 1048576 } },' }
    local headers = ledger.key(gateway, "alice", "--store", "30d")
    local ids = {}
    for i = 1, 40 do ids[i] = serve(headers, ("x"):rep(50000) .. i, "hello") end
    gateway:wait_log("event=texts_over_room", "room=1048576")
    assert.equal(1, (ledger.run(gateway, "requests", ids[1], "--texts")))
    for i = 30, 40 do assert.matches("x" .. i, texts(ids[i]).request.parts[1].text, 1, true) end
    assert.is_true(lfs.attributes(gateway.folder .. "/data/texts.db", "size") < 2 * 1048576)
  end)

  it("are dropped and counted while they cannot be written, and requests go on", function()
    local data = support.folder {}
    assert(lfs.mkdir(data .. "/texts.db"))
    start { more = (' ledger = { store = { keep = "1h", most = 1048576 } }, data = %q,'):format(
      data) .. ' admin = { listen = "unix:data/admin.sock" },' }
    local headers = ledger.key(gateway, "alice", "--store", "30d")
    local function metric(name)
      local pipe = io.popen("curl -s --unix-socket " .. gateway.folder
        .. "/data/admin.sock http://weir/metrics")
      local text = pipe:read("*a")
      pipe:close()
      return tonumber(text:match("\n" .. name .. " (%d+)"))
    end
    local ids = {}
    for i = 1, 6 do
      local response
      ids[i], response = serve(headers, ("x"):rep(900000), "hello")
      assert.equal(200, response.status)
    end
    gateway:wait_log("event=texts_unavailable", "texts.db")
    assert.equal(0, metric("weir_texts_stored_total"))
    assert.is_true(metric("weir_texts_dropped_total") >= 2)
    assert.equal(1, select(2, gateway:log():gsub("event=texts_unavailable", "")))
    assert(lfs.rmdir(data .. "/texts.db"))
    gateway:wait_log("event=texts_available")
    assert.truthy(texts(ids[1]))
    assert.is_true(metric("weir_texts_stored_total") >= 4)
    gateway:stop()
    support.remove_folder(data)
  end)

  it("are chosen by keys of an older version's ledger", function()
    start()
    local headers = ledger.key(gateway, "alice")
    gateway:stop()
    ledger.write(gateway, "ALTER TABLE accounts DROP COLUMN store")
    start { more = STORE .. ("data = %q,"):format(gateway.folder .. "/data") }
    ledger.ask(gateway, "keys", "set", "alice", "--store", "1h")
    assert.matches("hello", texts((serve(headers, "hi", "hello"))).answer.parts[1].text, 1, true)
  end)

  it("are not lost with the clerk", function()
    start()
    local headers = ledger.key(gateway, "alice", "--store", "30d")
    libc.C.kill(ledger.clerk(gateway), libc.SIGKILL)
    local id = serve(headers, "hi", "hello")
    gateway:wait_log("event=clerk_died")
    local deadline = os.time() + 10
    local status, text
    repeat status, text = ledger.run(gateway, "requests", id, "--texts")
    until status == 0 or os.time() > deadline
    assert.matches('"hello"', text, 1, true)
  end)

  it("are the request's though its worker was killed", function()
    start()
    ask((ledger.key(gateway, "alice", "--store", "30d")), say("last words"))
    first:take()
    for _, pid in ipairs(gateway:workers()) do
      if pid ~= ledger.clerk(gateway) then libc.C.kill(pid, libc.SIGKILL) end
    end
    gateway:wait_log("event=worker_died")
    local deadline, row = os.time() + 10
    repeat row = ledger.ask(gateway, "requests").requests[1] until row or os.time() > deadline
    assert.equal("worker_died", row.code)
    assert.matches("last words", texts(row.id).request.parts[1].text, 1, true)
  end)

  it("are told over the unix socket alone", function()
    start { env = { TOKEN = "admin-token-0123456789" }, more = STORE
      .. ' admin = { listen = "127.0.0.1:0", token = weir.env "TOKEN" },' }
    local port = gateway:log():match("event=admin_listening address=127%.0%.0%.1:(%d+)")
    local id = serve(ledger.key(gateway, "alice", "--store", "30d"), "hi", "hello")
    local function status_of(path)
      local pipe = io.popen(("curl -s -o /dev/null -w '%%{http_code}' -H 'Authorization: Bearer "
        .. "admin-token-0123456789' http://127.0.0.1:%s%s"):format(port, path))
      local text = pipe:read("*a")
      pipe:close()
      return text
    end
    assert.equal("200", status_of("/requests/" .. id))
    assert.equal("403", status_of("/requests/" .. id .. "/texts"))
    assert.equal("403", status_of("/requests/" .. id .. "/texts?a"))
    assert.truthy(texts(id))
  end)

  it("are shown to people without what a terminal would obey", function()
    start()
    local id = stream(ledger.key(gateway, "alice", "--store", "30d"),
      openai.content("a\\u001b[2Jb\\nc\\u009bd"), openai.finish, openai.done)
    local _, text = ledger.run(gateway, "requests", id, "--texts")
    assert.matches("answer, content:\na?[2Jb\nc?d\n", text, 1, true)
    assert.matches("request, body:\n{", text, 1, true)
  end)

  it("say what is wrong with a command", function()
    start()
    local wrong = {
      { 'store: must be a time such as "12h" or "30d", or "none"', "keys", "add", "--name", "x",
        "--store", "much" },
      { 'store: must be a time such as', "keys", "add", "--name", "x", "--store", "0s" },
      { "--store: no such option here", "teams", "add", "--name", "x", "--store", "1d" },
      { "nothing is stored of a request of that id", "requests", "req_x", "--texts" },
    }
    for _, one in ipairs(wrong) do
      local status, text = ledger.run(gateway, unpack(one, 2))
      assert.equal(one[2] == "requests" and 1 or 2, status)
      assert.matches(one[1], text, 1, true)
    end
    assert.equal(2, (ledger.run(gateway, "requests", "--texts")))
  end)
end)
