-- policy.canary: a new version serves part of the traffic first.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

--- A weir.lua whose policy answers with its name, and fails when it is asked to.
local function config(name, canary, more)
  return ([[
return {
  listen = "127.0.0.1:0", workers = 1, reload = { watch = false }, %s
  policy = { canary = { %s } },
  providers = { first = { type = "openai", base_url = "http://127.0.0.1:1/v1" } },
  models = {
    default = function(req)
      if req.body.user == "fail-%s" then error("as it was told") end
      if req.body.user == "overload" then return req:reply(503, {}) end
      return req:reply(200, { by = %q })
    end,
  },
}
]]):format(more or "", canary, name, name)
end

describe("a canary", function()
  local w, gateway, client

  before_each(function() w = world.new() end)
  after_each(function() w:close() end)

  --- The first version serves; the second is tried.
  local function start(canary, more)
    gateway = w:gateway { config = config("old", "", more) }
    client = gateway:connect()
    gateway:write("weir.lua", config("new", canary, more))
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=canary_started", "generation=2", "beside=1")
  end

  local function ask(options)
    options = options or {}
    client:request {
      body = ('{"model":"default","user":"%s","messages":[{"role":"user","content":"%s"}]}')
        :format(options.user or "", options.says or "hi"),
      headers = options.headers,
    }
    return client:read_response()
  end

  local NEW = { headers = { ["X-Try"] = "1" } }

  local function new(user) return ask { user = user, headers = NEW.headers } end

  local function status() return select(2, gateway:command("status")) end

  --- Waits until weir status says that: the master hears of it a moment after the client.
  local function wait_status(pattern)
    local deadline = libc.deadline()
    local said
    repeat said = status() until said:find(pattern) or libc.now() > deadline
    assert.matches(pattern, said)
    return said
  end

  --- Waits until one more is answered by that version.
  local function wait_by(name, options)
    local deadline = libc.deadline()
    while ask(options).json.by ~= name do assert(libc.now() < deadline, name) end
  end

  it("serves whoever has the header, and nobody else", function()
    start('header = "x-try"')
    assert.equal("new", ask(NEW).json.by)
    assert.equal("2", ask(NEW).headers["x-weir-generation"])
    assert.equal("old", ask().json.by)
    assert.equal("1", ask().headers["x-weir-generation"])
  end)

  it("serves a share of the conversations, each always in the same way", function()
    start("share = 0.3")
    local by, count = {}, { old = 0, new = 0 }
    for i = 1, 100 do
      by[i] = ask({ says = "question " .. i }).json.by
      count[by[i]] = count[by[i]] + 1
    end
    assert.is_true(count.new > 10 and count.new < 55, count.new .. " went to the new one")
    for i = 1, 100 do assert.equal(by[i], ask({ says = "question " .. i }).json.by) end
  end)

  it("serves those keys", function()
    gateway = w:gateway {
      config = 'local weir = require "weir"\n'
        .. config("old", "", 'keys = { weir.env "KEY", weir.env "HOME" },'),
    }
    client = gateway:connect()
    gateway:write("weir.lua", 'local weir = require "weir"\n'
      .. config("new", 'keys = { "HOME" }', 'keys = { weir.env "KEY", weir.env "HOME" },'))
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=canary_started")
    local home = os.getenv("HOME")
    assert.equal("new", ask({ headers = { Authorization = "Bearer " .. home } }).json.by)
  end)

  it("serves all once it did well for long enough", function()
    start('header = "x-try", requests = 5, time = 0')
    for _ = 1, 5 do ask(NEW) end
    gateway:wait_log("event=canary_promoted", "generation=2", "of 5 requests 0 failed")
    gateway:wait_log("event=reloaded", "cause=canary", "generation=2 ")
    wait_by("new")
    assert.is_nil(status():find("canary", 1, true))
    assert.is_truthy(status():find("generation 2, ", 1, true))
    wait_status("generations 1\n")
  end)

  it("is rolled back when its policy fails more often", function()
    start('header = "x-try", requests = 5, time = 0')
    for _ = 1, 3 do assert.equal(500, new("fail-new").status) end
    gateway:wait_log("level=error event=canary_rolled_back", "of 3 requests 3 failed")
    wait_by("old", NEW)
    assert.is_truthy(status():find("refused:\nrolled back: generation 2", 1, true), status())
    local ready = gateway:request({ path = "/readyz" }):read_response()
    assert.equal(200, ready.status)
    assert.is_truthy(ready.json.reload.refused:find("rolled back", 1, true))
    wait_status("generations 1\n")
  end)

  it("is not blamed for what the old one suffers too", function()
    start('header = "x-try", requests = 5, time = 0')
    for _ = 1, 20 do ask { user = "overload" } end
    for _ = 1, 5 do assert.equal(503, new("overload").status) end
    gateway:wait_log("event=canary_promoted", "of 5 requests 5 failed")
  end)

  it("shows in weir status how it fares", function()
    start('header = "x-try"')
    new("fail-new")
    ask(NEW)
    ask()
    local said = wait_status("canary: generation 2, for %d+ s: of 2 requests 1 failed; "
      .. "of generation 1 meanwhile, of 1 0\n")
    assert.is_truthy(said:find("generations 2", 1, true))
  end)

  it("ends with weir rollback, and the old one serves all", function()
    start('header = "x-try"')
    assert.equal("new", ask(NEW).json.by)
    local code, said = gateway:command("rollback")
    assert.equal(0, code)
    assert.equal("generation 1 serves\n", said)
    wait_by("old", NEW)
    gateway:wait_log("event=canary_rolled_back", "generation=2")
    assert.is_nil(gateway:request({ path = "/readyz" }):read_response().json.reload)
  end)

  it("gives way to another version that is loaded meanwhile", function()
    start('header = "x-try"')
    gateway:write("weir.lua", config("newer", 'header = "x-try"'))
    local code, said = gateway:command("reload")
    assert.equal(0, code)
    assert.equal("generation 3 serves some: a canary\ngeneration 1 serves\n", said)
    gateway:wait_log("event=canary_replaced", "generation=2")
    wait_by("newer", NEW)
    gateway:write("weir.lua", config("newest", ""))
    gateway:reload(4)
    wait_by("newest", NEW)
    assert.equal("newest", ask().json.by)
    assert.is_nil(status():find("canary", 1, true))
  end)

  it("goes on when another version is refused", function()
    start('header = "x-try"')
    gateway:write("weir.lua", "broken")
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=reload_refused")
    assert.equal("new", ask(NEW).json.by)
    assert.equal("old", ask().json.by)
  end)

  it("goes on in a worker that replaces a dead one", function()
    start('header = "x-try", requests = 3, time = 0')
    libc.C.kill(gateway:workers()[1], libc.SIGKILL)
    gateway:wait_log("event=worker_died")
    client = gateway:connect()
    assert.equal("new", ask(NEW).json.by)
    assert.equal("old", ask().json.by)
    ask(NEW)
    ask(NEW)
    gateway:wait_log("event=reloaded", "cause=canary")
    wait_by("new")
  end)

  it("lets its streams end when it is rolled back", function()
    local up = w:upstream("up")
    local function with_provider(text)
      return (text:gsub('base_url = "[^"]*"', ('base_url = "%s"'):format(up.url))
        :gsub('if req.body.user == "overload"',
          'if req.stream then return req:send("first/m") end %0'))
    end
    gateway = w:gateway { config = with_provider(config("old", "")) }
    client = gateway:connect()
    gateway:write("weir.lua", with_provider(config("new", 'header = "x-try"')))
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=canary_started")
    local stream = gateway:chat { stream = true, headers = NEW.headers }
    local provider = up:stream(openai.content("a"))
    assert.equal("2", stream:read_head().headers["x-weir-generation"])
    assert.equal(0, (gateway:command("rollback")))
    provider:send_chunk(openai.finish .. openai.done)
    provider:finish_stream()
    assert.equal("complete", (select(2, stream:read_chunks())))
  end)
end)
