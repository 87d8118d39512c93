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
    local pipe = io.popen("curl -s -i --unix-socket " .. gateway.folder
      .. "/data/admin.sock http://weir/metrics")
    local text = pipe:read("*a")
    pipe:close()
    return text
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
      assert.truthy(line:find("^# TYPE [%l_]+ %l+$") or line:find("^[%l_]+ [%d.]+$")
        or line:find('^[%l_]+{.+"} [%d.]+$'), line)
    end
    has(gateway, [[weir_policy_asked_total{stream="false",team="a\"b"} 1]])
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
        { "Bad" }, { "x_total" }, { "" }, { ("x"):rep(65) }, { "x", -1 }, { "x", 0/0 },
        { "x", "1" },
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
    for i, part in ipairs { "lower-case letters", "leave _total out", "lower-case letters",
      "64 at most", "a counter grows", "a counter grows", "expected a number", "a label's name",
      "a label's value", "labels are named", "8 labels", "expected a string" } do
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
end)
