local sim = require("weir.sim")
local waterfall = require("policies.waterfall")
local weir = require("weir")

local HOOK = "https://hooks.example"

--- Plays a policy that fetches and says what came of it.
local function fetched(request)
  local res, err
  local run = sim.run(function(req)
    res, err = weir.fetch(request)
    return req:reply(200, "{}")
  end)
  assert.equal(200, run.status)
  return res, err
end

local function raised(request)
  local _, problem
  sim.run(function(req)
    _, problem = pcall(weir.fetch, request)
    return req:reply(200, "{}")
  end)
  return problem
end

describe("weir.fetch", function()
  it("asks a server, and gives its whole answer", function()
    sim.host(HOOK):answers(201, '{"id":7}', { headers = { ["X-Made"] = "yes" } })
    local res = fetched(HOOK .. "/v1/things?kind=a%20b")
    assert.equal(201, res.status)
    assert.equal('{"id":7}', res.body)
    assert.equal("yes", res.headers["x-made"])
    local asked = sim.host(HOOK).asked[1]
    assert.same({ "GET", "/v1/things?kind=a%20b", "" }, { asked.method, asked.path, asked.text })
  end)

  it("sends a body, as JSON where it is a table, and headers", function()
    sim.host(HOOK):answers(200)
    fetched { url = HOOK, body = { text = "hi" }, headers = { ["X-From"] = "weir" } }
    fetched { url = HOOK .. "/", method = "PUT", body = "raw" }
    local first, second = unpack(sim.host(HOOK).asked)
    assert.same({ "POST", "/", '{"text":"hi"}' }, { first.method, first.path, first.text })
    assert.equal("application/json", first.headers["content-type"])
    assert.equal("weir", first.headers["x-from"])
    assert.same({ "PUT", "raw" }, { second.method, second.text })
    assert.is_nil(second.headers["content-type"])
  end)

  it("waits as send does: a policy decides by what came", function()
    sim.host(HOOK):answers("json", { model = "groq/llama" })
    sim.provider("groq")
    local run = sim.run(function(req)
      local res = assert(weir.fetch(HOOK))
      return waterfall { weir.json.decode(res.body).model } (req)
    end)
    assert.same({ "groq/llama" }, run.targets)
  end)

  it("waits inside a filter", function()
    sim.host(HOOK):answers(200, "seen", { latency = 2 })
    sim.provider("groq")
    local run = sim.run(function(req)
      local res = assert(req:send("groq/llama"))
      res:map(function(event)
        if event.kind == "content" then
          event.text = assert(weir.fetch(HOOK)).body
        end
        return event
      end)
      return res
    end, { stream = true })
    assert.equal("complete", run.ended)
    assert.truthy(run.text:find("^seen"))
  end)

  it("gives nil and why when the server fails", function()
    for what, code in pairs { refused = "refused", dns = "dns", tls = "tls", reset = "reset" } do
      sim.reset()
      sim.host(HOOK):answers(what)
      local res, err = fetched(HOOK)
      assert.same({ nil, code }, { res, err.code })
      assert.equal("string", type(err.message))
    end
  end)

  it("gives nil when its time is over", function()
    sim.host(HOOK):answers("unreachable")
    local from = weir.now()
    local _, err = fetched { url = HOOK, timeout = 3 }
    assert.equal("timeout", err.code)
    assert.equal(3, weir.now() - from)
  end)

  it("gives nil for an answer past max", function()
    sim.host(HOOK):answers(200, ("x"):rep(11))
    local _, err = fetched { url = HOOK, max = 10 }
    assert.equal("too_large", err.code)
  end)

  it("ends with its request", function()
    sim.host(HOOK):answers("unreachable")
    local run = sim.run(function() return weir.fetch(HOOK) end, { leaves = 1 })
    assert.equal("left", run.ended)
  end)

  it("raises for a server that policy.fetch does not name", function()
    sim.host(HOOK)
    assert.truthy(raised("https://hooks.example:8443/"):find("https://hooks.example:8443 is not", 1,
      true))
    assert.truthy(raised("http://hooks.example/"):find("policy.fetch in weir.lua", 1, true))
    sim.host("http://h.example:80"):answers(200)
    assert.equal(200, fetched("http://H.example").status)
  end)

  for said, request in pairs {
    ["expected a table"] = 7,
    ["unknown member uri"] = { uri = HOOK },
    ["url must be a string"] = {},
    ["url must begin with"] = "ftp://hooks.example",
    ["must not hold credentials"] = "https://me:secret@hooks.example",
    ["url has a character that no URL has"] = HOOK .. "/?a b",
    ["url has a path with dots alone"] = HOOK .. "/../etc",
    ["method must be"] = { url = HOOK, method = "TRACE" },
    ["headers: Host is set by the gateway"] = { url = HOOK, headers = { Host = "x" } },
    ["must not hold control characters"] = { url = HOOK, headers = { a = "b\r\nEvil: 1" } },
    ["headers.a must be a string"] = { url = HOOK, headers = { a = true } },
    ["body must be a string"] = { url = HOOK, body = 7 },
    ["timeout must be a number above 0"] = { url = HOOK, timeout = 0 },
    ["max must be a number above 0"] = { url = HOOK, max = 2 ^ 40 },
  } do
    it("raises: " .. said, function()
      sim.host(HOOK)
      local problem = raised(request)
      assert.truthy(problem:find(said, 1, true), problem)
      assert.truthy(problem:find("weir.fetch: ", 1, true))
    end)
  end
end)
