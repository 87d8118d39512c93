-- Quotas, keys and cooldowns in the running gateway: one truth of all workers, over restarts.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local read_file = require("spec.support.read_file")
local world = require("spec.support.world")
local cjson = require("cjson")

local SIGCONT = 18

describe("limits", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function() w:close() end)

  --- What is known of targets, as rows.
  local function known(gateway)
    return cjson.decode(gateway:ask_admin("/admin/limits")).limits
  end

  describe("of two workers", function()
    --- One serves while the other is stopped.
    local function only(gateway, which)
      local pids = gateway:workers()
      for i, pid in ipairs(pids) do
        libc.C.kill(pid, i == which and SIGCONT or libc.SIGSTOP)
      end
    end

    local gateway
    before_each(function()
      gateway = w:gateway { more = '  workers = 2,' }
    end)
    after_each(function()
      for _, pid in ipairs(gateway:workers()) do libc.C.kill(pid, SIGCONT) end
    end)

    it("let the second make no attempt after the first saw a 429", function()
      only(gateway, 1)
      local client = gateway:chat()
      first:answer(429, "{}", { ["Retry-After"] = "30" })
      assert.equal(429, client:read_response().status)
      only(gateway, 2)
      client = gateway:chat()
      local response = client:read_response()
      assert.equal(429, response.status)
      assert.equal("0", response.headers["x-weir-attempts"])
      assert.is_true(tonumber(response.headers["retry-after"]) <= 30)
      assert.is_false(first:is_asked())
    end)

    it("let the second make no attempt when an answer said that nothing is left", function()
      only(gateway, 1)
      local client = gateway:chat()
      first:answer(200, openai.answer(), { ["x-ratelimit-limit-requests"] = "30",
        ["x-ratelimit-remaining-requests"] = "0", ["x-ratelimit-reset-requests"] = "20m" })
      assert.equal(200, client:read_response().status)
      only(gateway, 2)
      assert.equal(429, gateway:chat():read_response().status)
      assert.is_false(first:is_asked())
    end)
  end)

  describe("of the configuration", function()
    it("refuse what is over them, and let one more run when another ends", function()
      local gateway = w:gateway { provider = { first = 'limits = { concurrent = 1 }, '
        .. 'key = weir.env "KEY"' } }
      local client = gateway:chat { stream = true }
      local provider = first:stream(openai.content("a"))
      client:read_head()
      client:read_chunk()
      assert.equal(429, gateway:chat():read_response().status)
      provider:send_last(openai.finish .. openai.done)
      client:read_chunks()
      client = gateway:chat()
      provider:read_request()
      provider:respond(200, openai.answer())
      assert.equal(200, client:read_response().status)
    end)

    it("count requests over both workers", function()
      local gateway = w:gateway { more = "  workers = 2,",
        provider = { first = 'limits = { rpm = 3 }, key = weir.env "KEY"' } }
      local began = libc.now()
      for _ = 1, 3 do
        local client = gateway:chat()
        first:answer(200, openai.answer(), { Connection = "close" })
        assert.equal(200, client:read_response().status)
      end
      for _ = 1, 6 do
        local response = gateway:chat():read_response()
        assert.equal(429, response.status)
        local wait = tonumber(response.headers["retry-after"])
        local took = libc.now() - began -- the minute runs meanwhile
        assert.is_true(wait <= 61 and wait >= 59 - took, wait)
      end
      assert.is_false(first:is_asked())
    end)
  end)

  describe("of several keys", function()
    local KEYS = { A = "provider-key-a", B = "provider-key-b" }
    local gateway

    before_each(function()
      gateway = w:gateway { provider = { first = 'keys = { weir.env "A", weir.env "B" }' },
        env = KEYS }
    end)

    local function asked(status, body, headers)
      headers = headers or {}
      headers.Connection = "close"
      local _, request = first:answer(status, body, headers)
      return request.headers.authorization
    end

    it("send each attempt with one of them, in turn", function()
      local seen = {}
      for _ = 1, 4 do
        local client = gateway:chat()
        local key = asked(200, openai.answer())
        seen[key] = (seen[key] or 0) + 1
        client:read_response()
      end
      assert.same({ ["Bearer " .. KEYS.A] = 2, ["Bearer " .. KEYS.B] = 2 }, seen)
    end)

    it("try the other one at once when one is spent or refused, and leave that alone", function()
      for _, status in ipairs { 429, 401 } do
        local client = gateway:chat()
        local one = asked(status, "{}", { ["Retry-After"] = "30" })
        local other = asked(200, openai.answer())
        local response = client:read_response()
        assert.equal(200, response.status)
        assert.equal("2", response.headers["x-weir-attempts"])
        assert.are_not.equal(one, other)
        client = gateway:chat()
        assert.equal(other, asked(200, openai.answer()))
        client:read_response()
        gateway:stop()
        gateway = w:gateway { provider = { first = 'keys = { weir.env "A", weir.env "B" }' },
          env = KEYS }
      end
    end)

    it("show which in the log and in the table, never the key itself", function()
      local client = gateway:chat()
      asked(429, "{}", { ["Retry-After"] = "300" })
      asked(200, openai.answer())
      client:read_response()
      gateway:wait_log("event=attempt", "outcome=rate_limited provider_key=1")
      gateway:wait_log("event=attempt", "outcome=ok provider_key=2")
      local _, text = gateway:command("limits")
      local _, shown = gateway:command("limits", "--json")
      assert.equal("first/first-model", cjson.decode(shown).limits[1].target)
      assert.truthy(text:find("first/first%-model +1  exhausted .- rate_limited for [23]%d%d s"))
      assert.truthy(text:find("first/first%-model +2  available"))
      local log = gateway:stop()
      for _, key in pairs(KEYS) do
        assert.is_nil(log:find(key, 1, true))
        assert.is_nil(text:find(key, 1, true))
      end
    end)
  end)

  describe("over a restart", function()
    local DATA = '  workers = 1, data = ".",'

    local function kept(gateway)
      return read_file(gateway.folder .. "/limits")
    end

    it("are what they were, without a cooldown more or less", function()
      local second = w:upstream("second")
      local gateway = w:gateway { more = DATA }
      local client = gateway:chat()
      first:answer(429, "{}", { ["Retry-After"] = "300" })
      second:answer(200, openai.answer())
      client:read_response()
      gateway:stop()
      local config = w:config { more = DATA }
      gateway = w:gateway { config = config, files = { limits = kept(gateway) } }
      client = gateway:chat()
      second:answer(200, openai.answer())
      assert.equal("1", client:read_response().headers["x-weir-attempts"])
      assert.is_false(first:is_asked())
    end)

    it("are written to a file of their own, wherever a link in its place leads", function()
      local gateway = w:gateway { more = DATA, files = { victim = "not yours" } }
      require("lfs").link(gateway.folder .. "/victim", gateway.folder .. "/limits.new", true)
      local client = gateway:chat()
      first:answer(429, "{}", { ["Retry-After"] = "300" })
      client:read_response()
      gateway:stop()
      local file = assert(io.open(gateway.folder .. "/victim"))
      assert.equal("not yours", file:read("*a"))
      file:close()
      assert.matches("^weir%-limits ", kept(gateway))
    end)

    it("are left out, and the log says why, where the file is torn", function()
      local gateway = w:gateway { more = DATA, files = { limits = "weir-limits 1 17\nlane 1 fi" } }
      gateway:wait_log("event=limits_file_ignored", "torn")
      local client = gateway:chat()
      first:answer(200, openai.answer())
      assert.equal(200, client:read_response().status)
    end)
  end)

  it("are shown: state, quotas, cooldowns, what is in flight", function()
    local gateway = w:gateway {
      provider = { first = 'limits = { tpm = 5000 }, key = weir.env "KEY"' } }
    local client = gateway:chat()
    first:answer(200, openai.answer(), { ["x-ratelimit-limit-requests"] = "30",
      ["x-ratelimit-remaining-requests"] = "29", ["x-ratelimit-reset-requests"] = "40s" })
    client:read_response()
    local rows = known(gateway)
    assert.equal(2, #rows)
    assert.equal("first", rows[1].target)
    local quota = rows[1].quotas[1]
    assert.same({ "tpm", "configuration", 5000, 4988 }, { quota.dimension, quota.from, quota.limit,
      quota.remaining })
    local row = rows[2]
    assert.same({ "first/first-model", 1, "tracking", 0 },
      { row.target, row.key, row.state, row.in_flight })
    assert.same({ "rpm", "provider", 30, 29 }, { row.quotas[1].dimension, row.quotas[1].from,
      row.quotas[1].limit, row.quotas[1].remaining })
    assert.is_true(row.latency > 0)
  end)

  it("are told to policies", function()
    local gateway = w:gateway { models = [[default = function(req)
      local target = require("weir").target("first/m")
      local before = target:quota("rpm")
      local res = req:send("first/m")
      local quota = target:quota("rpm")
      local known = pcall(target.quota, target, "nonsense")
      return req:reply(200, { before = before == nil, status = res.status,
        remaining = quota.remaining, limit = quota.limit, reset = quota.reset, known = known })
    end,]] }
    local client = gateway:chat()
    first:answer(200, openai.answer(), { ["x-ratelimit-limit-requests"] = "30",
      ["x-ratelimit-remaining-requests"] = "12", ["x-ratelimit-reset-requests"] = "50m" })
    local said = client:read_response().json
    assert.is_true(said.reset > 2900 and said.reset <= 3000)
    said.reset = nil
    assert.same({ before = true, status = 200, remaining = 12, limit = 30, known = false }, said)
  end)

  it("of four tiers are used up by two workers, with no 429 and no request too many", function()
    local tiers = { a = 40, b = 30, c = 20, d = 10 } -- requests a day, as Cerebras says it
    local providers = {}
    for name, limit in pairs(tiers) do
      local mock = w:mock(name .. "_mock", "--rpm", tostring(limit), "--ratelimit", "cerebras")
      providers[#providers + 1] = ('    %s = { type = "cerebras", base_url = "%s", key = '
        .. 'weir.env "KEY" },'):format(name, mock.url)
    end
    local gateway = w:gateway { more = "  workers = 2,", providers = table.concat(providers, "\n"),
      models = '    default = waterfall { "a/m", "b/m", "c/m", "d/m" },\n'
        .. '    b = waterfall { "b/m" }, c = waterfall { "c/m" }, d = waterfall { "d/m" },' }
    for _, model in ipairs { "default", "b", "c", "d" } do -- what nobody has said, nobody knows
      assert.equal(200, gateway:chat({ model = model }):read_response().status)
    end
    local clients, served, attempts = {}, 4, 4
    for _ = 1, 10 do
      for i = 1, 20 do clients[i] = gateway:chat() end
      for i = 1, 20 do
        local response = clients[i]:read_response()
        if response.status == 200 then served = served + 1 end
        attempts = attempts + tonumber(response.headers["x-weir-attempts"])
      end
    end
    assert.same({ 100, 100 }, { served, attempts })
  end)

  it("have nothing in flight and no cooldown lost after workers are killed under load", function()
    local mock = w:mock("mock", "--latency", "20")
    local gateway = w:gateway { more = "  workers = 2,", models = [[
      default = waterfall { "first/m", "mock/m" },]] }
    local client = gateway:chat()
    first:answer(429, "{}", { ["Retry-After"] = "3000" })
    assert.equal(200, client:read_response().status)
    local idle = gateway:connect()
    for round = 1, tonumber(os.getenv("WORKER_KILLS") or 4) do
      local clients = {}
      for i = 1, 20 do clients[i] = gateway:chat() end
      local pids = gateway:workers()
      libc.C.kill(pids[1], libc.SIGKILL)
      for i = 1, 20 do pcall(clients[i].read_response, clients[i]) end
      gateway.process:wait_for("err", function(log) -- till then the dead one counts as a worker
        return select(2, log:gsub("event=worker_died", "")) == round
      end, round .. " dead workers")
      local deadline = libc.now() + 30 -- a worker that dies often is started after 10 s
      while #gateway:workers() < 2 do
        assert(libc.now() < deadline, "no new worker")
        libc.wait(idle.fd, libc.POLLIN, libc.now() + 0.02) -- nothing comes there
      end
    end
    assert.truthy(mock)
    for _, row in ipairs(known(gateway)) do
      assert.equal(0, row.in_flight, row.target)
      assert.is_nil(row.cooldown and row.cooldown.probing or nil)
      if row.target == "first/m" then assert.equal("exhausted", row.state) end
    end
    assert.is_false(first:is_asked())
  end)
end)
