-- weir.metric, and GET /metrics of the admin socket.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("metrics", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function() w:close() end)

  local function counting(policy, more)
    return w:gateway { more = more, models = "    default = " .. policy .. "," }
  end

  local COUNTS = [[function(req)
      weir.metric("asked", 1, { team = req.headers["x-team"], stream = req.stream })
      return req:reply(200, "counted")
    end]]

  --- What the admin socket answers.
  local function get(gateway)
    return gateway:ask_admin("/metrics", "-i")
  end

  local function has(gateway, line)
    local text = get(gateway)
    assert.truthy(("\n" .. text):find("\n" .. line .. "\n", 1, true), text)
  end

  local function ask(gateway, team)
    return gateway:chat { headers = { ["X-Team"] = team } }:read_response()
  end

  it("sum over all workers, and survive one", function()
    local gateway = counting(COUNTS, "  workers = 2,")
    for _ = 1, 8 do ask(gateway, "red") end -- a connection each
    has(gateway, 'weir_policy_asked_total{stream="false",team="red"} 8')
    for _, pid in ipairs(gateway:workers()) do libc.C.kill(pid, libc.SIGKILL) end
    gateway:wait_log("event=worker_died", "worker=1")
    gateway:wait_log("event=worker_died", "worker=0")
    ask(gateway, "red")
    has(gateway, 'weir_policy_asked_total{stream="false",team="red"} 9')
  end)

  it("survive a reload, and tell of it", function()
    local gateway = counting(COUNTS)
    ask(gateway, "blue")
    has(gateway, "weir_generation 1")
    gateway:reload(2)
    ask(gateway, "blue")
    has(gateway, 'weir_policy_asked_total{stream="false",team="blue"} 2')
    has(gateway, "weir_generation 2")
    has(gateway, 'weir_reloads_total{result="ok"} 1')
    has(gateway, "weir_reload_refused 0")
  end)

  it("tell of a version that was refused", function()
    local gateway = counting(COUNTS)
    gateway:write("weir.lua", "return {")
    gateway:wait_log("event=reload_refused")
    has(gateway, "weir_reload_refused 1")
    has(gateway, 'weir_reloads_total{result="refused"} 1')
    has(gateway, "weir_generation 1")
    has(gateway, 'weir_workers{state="ready"} 1')
  end)

  it("are text as Prometheus reads it", function()
    local gateway = counting(COUNTS)
    ask(gateway, 'a"b')
    local text = get(gateway)
    assert.truthy(text:find("^HTTP/1.1 200 OK\r\n"))
    assert.truthy(text:find("content-type: text/plain; version=0.0.4\r\n", 1, true))
    local body = text:match("\r\n\r\n(.*)")
    assert.equal(tonumber(text:match("content%-length: (%d+)")), #body)
    for line in body:gmatch("([^\n]*)\n") do
      assert.truthy(line:find("^# HELP [%l_]+ [%u%d].*%.$") or line:find("^# TYPE [%l_]+ %l+$")
        or line:find("^[%l_]+ [%d.e-]+$") or line:find('^[%l_]+{.+"} [%d.e-]+$'), line)
    end
    has(gateway, [[weir_policy_asked_total{stream="false",team="a\"b"} 1]])
  end)

  --- What is wrong with a scrape, as promtool's check would say; it gives the names it found, too.
  local function faults_of(text)
    local help, kinds, faults, open = {}, {}, {}, nil
    local function fault(...) faults[#faults + 1] = table.concat({ ... }, " ") end
    for line in text:gmatch("[^\n]+") do
      local word, name, rest = line:match("^# (%u+) (%S+) (.+)$")
      if word == "HELP" then
        if help[name] then fault(name, "has two lines of help") end
        help[name], open = rest, name
      elseif word == "TYPE" then
        if open ~= name then fault(name, "has no help before its type") end
        if kinds[name] then fault(name, "has two types") end
        kinds[name] = rest
        if (rest == "counter") ~= (name:find("_total$") ~= nil) then
          fault(name, "is a", rest)
        end
      else
        local own = line:match("^[%l_]+")
        local base = kinds[open] == "histogram" and own:gsub("_%l+$", "") or own
        if base ~= open or not kinds[open] then fault(own, "stands under", open or "nothing") end
      end
    end
    return faults, kinds
  end

  it("have help and a type before their samples, each name once, as conventions want", function()
    local gateway = counting('waterfall { "first/m" }, ["*"] = ' .. COUNTS)
    gateway:chat { model = "other" }:read_response()
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    provider:send_chunk(openai.content("b") .. openai.finish .. openai.usage .. openai.done)
    provider:finish_stream()
    client:read_chunks()
    gateway:wait_log("event=request", "status=200")
    local faults, kinds = faults_of(get(gateway):match("\r\n\r\n(.*)"))
    assert.same({}, faults)
    for _, name in ipairs { "gen_ai_server_request_duration_seconds", "weir_workers",
      "weir_policy_asked_total", "weir_attempts_total", "weir_metrics_dropped_total" } do
      assert.truthy(kinds[name], name)
    end
  end)

  it("are bounded, and all of them fit an answer", function()
    local gateway = counting([[function(req)
      local pad = ("x"):rep(64)
      for i = 1, 2000 do weir.metric("flood", 1, { n = i, a = pad, b = pad }) end
      return req:reply(200, "flooded")
    end]], "  workers = 1, policy = { burst = 3 },") -- as slow as sanitizers make it
    assert.equal(200, ask(gateway).status)
    local text = get(gateway)
    assert.equal(tonumber(text:match("content%-length: (%d+)")), #text:match("\r\n\r\n(.*)"))
    local kept = select(2, text:gsub("\nweir_policy_flood_total{", ""))
    assert.is_true(kept > 900 and kept <= 1024, kept)
    assert.truthy(text:find("weir_metrics_dropped_total " .. 2000 - kept, 1, true))
  end)

  it("mask a credential in a label", function()
    local gateway = counting(COUNTS)
    ask(gateway, "sk-abcdefghijklmnop0123")
    local text = get(gateway)
    assert.truthy(text:find('team="sk%-a?…"'), text)
    assert.is_nil(text:find("abcdefghijklmnop", 1, true))
  end)

  it("say what is wrong with an argument", function()
    local gateway = counting [[function(req)
      local said = {}
      local wrong = {
        { "Bad" }, { "x_total" }, { "errors" }, { "" }, { ("x"):rep(65) },
        { "x", -1 }, { "x", 0/0 }, { "x", "1" },
        { "x", 1, { Team = 1 } }, { "x", 1, { team = {} } }, { "x", 1, { "red" } },
        { "x", 1, { a = 1, b = 1, c = 1, d = 1, e = 1, f = 1, g = 1, h = 1, i = 1 } }, { 5 },
      }
      for i, arguments in ipairs(wrong) do
        local ok, why = pcall(weir.metric, arguments[1], arguments[2], arguments[3])
        said[i] = ok and "fine" or why
      end
      return req:reply(200, said)
    end]]
    local said = gateway:chat():read_response().json
    for i, part in ipairs { "lower-case letters", "leave _total out", "the gateway's own",
      "lower-case letters", "64 at most", "a counter grows", "a counter grows", "expected a number",
      "a label's name", "a label's value", "labels are named", "8 labels", "expected a string" } do
      assert.truthy(said[i]:find(part, 1, true), said[i])
    end
    assert.is_nil(get(gateway):find("weir_policy_", 1, true))
  end)

  it("can be counted while an answer ends", function()
    local gateway = counting [[function(req)
      local res, err = req:send("first/m")
      return res and res:on_end(function(result)
        weir.metric("tokens", result.usage.total_tokens, { target = res.target })
      end), err
    end]]
    local client = gateway:chat()
    first:answer(200, openai.answer())
    client:read_response()
    has(gateway, 'weir_policy_tokens_total{target="first/m"} 12')
  end)

  describe("of requests", function()
    local second

    before_each(function() second = w:upstream("second") end)

    --- The value of the series with that name and all these labels; nil: there is none.
    local function value(gateway, name, labels)
      for series, number in get(gateway):gmatch("\n(" .. name .. "{[^\n]*}) (%S+)") do
        local has_all = true
        for label, said in pairs(labels) do
          has_all = has_all and series:find(('%s="%s"'):format(label, said), 1, true) ~= nil
        end
        if has_all then return tonumber(number) end
      end
    end

    it("tell durations, tokens and attempts, by names of the configuration", function()
      local gateway = w:gateway()
      local client = gateway:chat { stream = true }
      first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "300" })
      local provider = second:stream(openai.content("a"))
      client:read_head()
      client:read_chunk()
      provider:send_chunk(openai.content("b"))
      client:read_chunk()
      provider:send_chunk(openai.finish .. openai.usage .. openai.done)
      provider:finish_stream()
      client:read_chunks()
      gateway:wait_log("event=request")
      local model = { gen_ai_operation_name = "chat", gen_ai_request_model = "default" }
      for name, count in pairs {
        gen_ai_server_request_duration_seconds_count = 1,
        gen_ai_server_time_to_first_token_seconds_count = 1,
        gen_ai_server_time_per_output_token_seconds_count = 1,
        weir_stream_time_between_events_seconds_count = 2,
      } do
        assert.equal(count, value(gateway, name, model), name)
      end
      local tokens = { gen_ai_provider_name = "second", gen_ai_token_type = "input" }
      assert.equal(9, value(gateway, "gen_ai_client_token_usage_sum", tokens))
      tokens.gen_ai_token_type = "output"
      assert.equal(3, value(gateway, "gen_ai_client_token_usage_sum", tokens))
      assert.equal(1, value(gateway, "weir_attempts_total",
        { gen_ai_provider_name = "first", outcome = "rate_limited" }))
      assert.equal(1, value(gateway, "weir_attempts_total",
        { gen_ai_provider_name = "second", outcome = "ok" }))
      assert.equal(1, value(gateway, "weir_targets_cooling", { gen_ai_provider_name = "first" }))
    end)

    it("tell what is left of limits, by provider and dimension", function()
      local gateway = w:gateway { provider = {
        first = 'limits = { rpd = 5 }, key = weir.env "KEY"' } }
      local client = gateway:chat()
      first:answer(200, openai.answer(), { ["x-ratelimit-limit-tokens"] = "9000",
        ["x-ratelimit-remaining-tokens"] = "8765", ["x-ratelimit-reset-tokens"] = "60s" })
      client:read_response()
      for dimension, left in pairs { rpd = 4, tpm = 8765 } do
        assert.equal(left, value(gateway, "weir_quota_remaining",
          { gen_ai_provider_name = "first", dimension = dimension }))
      end
    end)

    it("tell by a word how they failed", function()
      local gateway = w:gateway { models =
        '    default = waterfall { "first/m" }, bad = function() error("x") end,' }
      gateway:chat { model = "bad" }:read_response()
      local client = gateway:chat { stream = true }
      local provider = first:stream(openai.content("a"))
      client:read_head()
      client:read_chunk()
      provider:reset()
      client:read_chunks()
      local gone = gateway:chat()
      first:take()
      gone:close()
      gateway:wait_log("event=request", "status=499")
      local name = "gen_ai_server_request_duration_seconds_count"
      for model, kind in pairs { default = "cut", bad = "server_error" } do
        assert.equal(1, value(gateway, name, { gen_ai_request_model = model, error_type = kind }))
      end
      assert.equal(1, value(gateway, name, { error_type = "cancelled" }))
      assert.equal(1, value(gateway, "weir_policy_errors_total", { gen_ai_request_model = "bad" }))
    end)

    it("have no label of a client's making", function()
      local gateway = w:gateway { models = '    ["*"] = waterfall { "first/*" },' }
      for i = 1, 20 do
        local client = gateway:chat { model = "made-up-" .. i }
        if i == 1 then first:answer(400, openai.failure("no", "invalid_request_error")) end
        client:close()
      end
      gateway:wait_log("event=request", "made-up-20")
      assert.is_nil(get(gateway):find("made-up", 1, true))
    end)

    it("count what is in flight", function()
      local gateway = w:gateway()
      gateway:chat()
      first:take()
      local deadline = libc.deadline()
      repeat -- a worker says ten times a second what it is at
        local text = get(gateway)
        local now = text:find("\nweir_requests_in_flight 1\n", 1, true)
      until now or libc.now() > deadline
      has(gateway, "weir_requests_in_flight 1")
      assert.equal(1, value(gateway, "weir_attempts_in_flight", { gen_ai_provider_name = "first" }))
    end)
  end)
end)
