-- Promise 9: reload is atomic.  A bad version is refused and the good one stays; requests end on
-- the generation that they began with; nothing is cut, and nothing is forgotten.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")
local cjson = require("cjson")

--- Nothing but what the spec says reloads it.
local function quiet(more)
  return "  workers = 1, reload = { watch = false }," .. (more or "")
end

describe("a reload", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  local function to(name, more)
    return w:config {
      more = quiet(more),
      models = ('    default = waterfall { "%s/m" },'):format(name),
    }
  end

  --- Sends a plain request, lets this provider answer, and gives the generation that served it.
  local function served_by(gateway, up)
    local client = gateway:chat()
    up:answer(200, openai.answer())
    local response = client:read_response()
    assert.equal(200, response.status)
    return tonumber(response.headers["x-weir-generation"])
  end

  local function wait_workers(gateway, count)
    local deadline = libc.deadline()
    while #gateway:workers() ~= count do
      assert(libc.now() < deadline, "there are " .. #gateway:workers() .. " workers")
      libc.C.poll(nil, 0, 10) -- nothing tells when another process's child ends
    end
  end

  it("swaps on SIGHUP", function()
    local gateway = w:gateway { config = to("first") }
    assert.equal(1, served_by(gateway, first))
    gateway:write("weir.lua", to("second"))
    gateway:reload(2)
    assert.equal(2, served_by(gateway, second))
    assert.is_truthy(gateway:request({ path = "/readyz" }):read_response().body
      :find('"generation":2', 1, true))
  end)

  it("loads anew what weir.lua requires", function()
    local gateway = w:gateway {
      config = w:config {
        more = quiet(),
        before = 'local targets = require "chosen"',
        models = "    default = waterfall(targets),",
      },
      files = { ["chosen.lua"] = 'return { "first/m" }' },
    }
    served_by(gateway, first)
    gateway:write("chosen.lua", 'return { "second/m" }')
    gateway:reload(2)
    assert.equal(2, served_by(gateway, second))
  end)

  it("uses a provider's new key and URL", function()
    local third = w:upstream("third")
    local folder_key = 'first = { type = "openai", base_url = "%s", key = weir.file "%s" },'
    local function config(gateway_folder, url)
      return table.concat {
        'local weir = require "weir" local waterfall = require "policies.waterfall" return {',
        'listen = "127.0.0.1:0", ', quiet(), "providers = {",
        folder_key:format(url, gateway_folder .. "/key"), "}, models = {",
        'default = waterfall { "first/m" } } }',
      }
    end
    local gateway = w:gateway { config = to("first") }
    gateway:write("key", "old-key\n")
    gateway:write("weir.lua", config(gateway.folder, first.url))
    gateway:reload(2)
    local client = gateway:chat()
    local _, request = first:answer(200, openai.answer())
    assert.equal("Bearer old-key", request.headers.authorization)
    assert.equal(200, client:read_response().status)
    gateway:write("key", "new-key\n")
    gateway:write("weir.lua", config(gateway.folder, third.url))
    gateway:reload(3)
    client = gateway:chat()
    _, request = third:answer(200, openai.answer())
    assert.equal("Bearer new-key", request.headers.authorization)
    assert.equal(200, client:read_response().status)
  end)

  it("refuses a broken file with its line, and serves on", function()
    local gateway = w:gateway { config = to("first") }
    gateway:write("weir.lua", "return {\n  listen = ,\n}\n")
    gateway.process:signal(libc.SIGHUP)
    local line = gateway:wait_log("event=reload_refused", "cause=signal", "generation=1")
    assert.is_truthy(line:find("weir.lua:2: unexpected symbol", 1, true), line)
    assert.equal(1, served_by(gateway, first))
    local ready = gateway:request({ path = "/readyz" }):read_response()
    assert.equal(200, ready.status)
    assert.is_truthy(ready.json.reload.refused:find("weir.lua:2:", 1, true))
    gateway:write("weir.lua", to("second"))
    gateway:reload(2)
    assert.equal(2, served_by(gateway, second))
    assert.is_nil(gateway:request({ path = "/readyz" }):read_response().json.reload)
  end)

  it("refuses a configuration with errors, each in the log", function()
    local gateway = w:gateway { config = to("first") }
    gateway:write("weir.lua", (to("frist", " drian = 1,")))
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=reload_refused", "drian", "drain")
    gateway:write("weir.lua", (to("frist")))
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=reload_refused", "frist", "first")
    assert.equal(1, served_by(gateway, first))
  end)

  it("lets requests end on the generation they began with", function()
    local gateway = w:gateway { config = to("first") }
    local old = gateway:chat { stream = true }
    local old_provider = first:stream(openai.content("a"))
    assert.equal("1", old:read_head().headers["x-weir-generation"])
    old:read_chunk()
    gateway:write("weir.lua", to("second"))
    gateway:reload(2)
    local new = gateway:chat { stream = true }
    local new_provider = second:stream(openai.content("b"))
    assert.equal("2", new:read_head().headers["x-weir-generation"])
    new:read_chunk()
    for _, provider in ipairs { old_provider, new_provider } do
      provider:send_chunk(openai.content("more") .. openai.finish .. openai.done)
      provider:finish_stream()
    end
    for _, client in ipairs { old, new } do
      assert.equal("complete", (select(2, client:read_chunks())))
    end
    assert.is_truthy(gateway:wait_log("event=request", "generation=1"))
  end)

  it("lets a policy that waits go on with its own generation", function()
    local gateway = w:gateway { config = to("first") }
    local client = gateway:chat()
    local provider = first:take()
    gateway:write("weir.lua", to("second"))
    gateway:reload(2)
    provider:respond(200, openai.answer())
    assert.equal("1", client:read_response().headers["x-weir-generation"])
  end)

  it("ends a generation with its last request", function()
    local gateway = w:gateway { config = to("first") }
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    gateway:reload(2)
    assert.is_truthy(select(2, gateway:command("status")):find("generations 2", 1, true))
    provider:send_chunk(openai.finish .. openai.done)
    provider:finish_stream()
    client:read_chunks()
    local deadline = libc.deadline()
    while not select(2, gateway:command("status")):find("generations 1", 1, true) do
      assert(libc.now() < deadline, "the old generation stays")
    end
  end)

  it("keeps four generations at most, and waits for one to end", function()
    local gateway = w:gateway { config = to("first") }
    local streams = {}
    for number = 1, 4 do
      if number > 1 then gateway:reload(number) end
      local client = gateway:chat { stream = true }
      streams[number] = { client = client, provider = first:stream(openai.content("a")) }
      client:read_head()
      client:read_chunk()
    end
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=reload_waits", "generations=4")
    local status, said = gateway:command("reload")
    assert.equal(0, status)
    assert.is_truthy(said:find("waits", 1, true))
    streams[2].provider:send_chunk(openai.finish .. openai.done)
    streams[2].provider:finish_stream()
    gateway:wait_log("event=reloaded", "generation=5 ")
    for _, number in ipairs { 1, 3, 4 } do
      streams[number].provider:send_chunk(openai.content("b"))
      assert.equal(openai.content("b"), streams[number].client:read_chunk())
    end
  end)

  it("remembers cooldowns", function()
    local gateway = w:gateway { more = quiet() }
    local client = gateway:chat()
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "60" })
    local provider = second:answer(200, openai.answer())
    assert.equal("2", client:read_response().headers["x-weir-attempts"])
    gateway:reload(2)
    client = gateway:chat()
    provider:read_request()
    provider:respond(200, openai.answer())
    assert.equal("1", client:read_response().headers["x-weir-attempts"])
  end)

  it("gives a worker that replaces a dead one the generation that serves", function()
    local gateway = w:gateway { config = to("first") }
    gateway:write("weir.lua", to("second"))
    gateway:reload(2)
    gateway:write("weir.lua", "broken")
    libc.C.kill(gateway:workers()[1], libc.SIGKILL)
    gateway:wait_log("event=worker_died")
    assert.equal(2, served_by(gateway, second))
  end)

  it("is taken back by all workers when one could not load it", function()
    local gateway = w:gateway { config = (to("first"):gsub("workers = 1", "workers = 2")) }
    local stopped = gateway:workers()[1]
    libc.C.kill(stopped, libc.SIGSTOP)
    gateway.process:signal(libc.SIGHUP)
    local deadline = libc.deadline()
    while not select(2, gateway:command("status")):find("generations 2", 1, true) do
      assert(libc.now() < deadline, "the other worker does not load it")
    end
    libc.C.kill(stopped, libc.SIGKILL)
    gateway:wait_log("event=reload_refused", "died while it loaded it")
    wait_workers(gateway, 2)
    while select(2, gateway:command("status")):find("generations 2", 1, true) do
      assert(libc.now() < deadline, "it is not dropped")
    end
    gateway:reload(2)
    assert.equal(2, served_by(gateway, first))
  end)

  it("puts a new state where one is full for good", function()
    local gateway = w:gateway {
      config = w:config {
        more = quiet(" policy = { memory = 2 * 1024 * 1024 },"),
        before = "local kept = {}",
        models = [[
          default = function(req)
            kept[#kept + 1] = ("%d"):format(#kept):rep(20000)
            return req:reply(200, { kept = #kept })
          end,]],
      },
    }
    local function ask()
      return gateway:chat():read_response()
    end
    local response = ask()
    while response.status == 200 do response = ask() end
    assert.equal("policy_memory", response.json.error.code)
    local deadline = libc.deadline()
    while response.json.kept ~= 1 do
      assert(libc.now() < deadline, "it stays full")
      response = ask()
    end
    gateway:wait_log("event=generation_renewed", "generation=1")
    gateway:reload(2)
    while not select(2, gateway:command("status")):find("generations 1", 1, true) do
      assert(libc.now() < deadline, "the full state stays")
    end
  end)

  it("reads a module while weir.lua loads and not later", function()
    local gateway = w:gateway {
      config = w:config {
        more = quiet(),
        models = '    default = function() require("late") end,',
      },
      files = { ["late.lua"] = "return {}" },
    }
    assert.equal(500, gateway:chat():read_response().status)
    gateway:wait_log("event=policy_error", "not later")
  end)

  it("takes a hundred signals at once for few", function()
    local gateway = w:gateway { config = to("first") }
    for _ = 1, 100 do
      gateway.process:signal(libc.SIGHUP)
    end
    gateway:write("weir.lua", to("second"))
    gateway.process:signal(libc.SIGHUP)
    local client = gateway:chat()
    local deadline = libc.deadline()
    while not (first:is_asked() or second:is_asked()) do
      assert(libc.now() < deadline)
    end
    client:close()
    local status = gateway:command("reload") -- it is done when those before it are
    assert.equal(0, status)
    local generation = served_by(gateway, second)
    assert.is_true(generation < 20, "it reloaded " .. generation .. " times")
  end)

  describe("of what the workers have from the master", function()
    it("starts more workers, and drains those too many", function()
      local gateway = w:gateway { config = to("first") }
      gateway:write("weir.lua", (to("first"):gsub("workers = 1", "workers = 3")))
      gateway:reload(2)
      wait_workers(gateway, 3)
      local client = gateway:chat { stream = true }
      local provider = first:stream(openai.content("a"))
      client:read_head()
      client:read_chunk()
      gateway:write("weir.lua", to("first"))
      gateway:reload(3)
      provider:send_chunk(openai.finish .. openai.done)
      provider:finish_stream()
      assert.equal("complete", (select(2, client:read_chunks())))
      wait_workers(gateway, 1)
      assert.is_nil(gateway:log():find("event=worker_died", 1, true))
    end)

    it("holds new requests to its limits", function()
      local gateway = w:gateway { config = to("first", " limits = { body = 200 },") }
      local kept = gateway:connect()
      kept:request { path = "/healthz" }
      kept:read_response()
      gateway:write("weir.lua", (to("first", " limits = { body = 20000 },")))
      gateway:reload(2)
      local long = openai.request():gsub("hi", ("x"):rep(9000))
      kept:request { body = long }
      first:answer(200, openai.answer())
      assert.equal(200, kept:read_response().status)
      gateway:write("weir.lua", (to("first", " limits = { body = 200 },")))
      gateway:reload(3)
      assert.equal(413, gateway:chat({ body = long }):read_response().status)
    end)
  end)

  describe("when files change", function()
    it("comes by itself", function()
      local gateway = w:gateway {
        config = w:config {
          before = 'local targets = require "chosen"',
          models = "    default = waterfall(targets),",
        },
        files = { ["chosen.lua"] = 'return { "first/m" }' },
      }
      gateway:write("chosen.lua", 'return { "second/m" }')
      gateway:wait_log("event=reloaded", "cause=change", "generation=2 ")
      served_by(gateway, second)
      local file = assert(io.open(gateway.folder .. "/chosen.lua", "wb"))
      file:write('return { "first/m" }') -- in place
      file:close()
      gateway:wait_log("event=reloaded", "cause=change", "generation=3 ")
      served_by(gateway, first)
    end)

    it("sees a file that comes to be", function()
      local lfs = require("lfs")
      local gateway = w:gateway()
      assert(lfs.mkdir(gateway.folder .. "/policies"))
      gateway:write("policies/waterfall.lua",
        'return function() return function(req) return req:reply(200, { own = true }) end end')
      gateway:wait_log("event=reloaded", "generation=2 ")
      assert.is_true(gateway:chat():read_response().json.own)
    end)

    it("is nothing when the bytes are the same", function()
      local gateway = w:gateway()
      gateway:write("weir.lua", w:config {})
      gateway:write("weir.lua", (w:config {}) .. "-- changed\n")
      gateway:wait_log("event=reloaded", "generation=2 ")
      assert.is_nil(gateway:log():find("generation=3 ", 1, true))
    end)

    it("takes a broken file for nothing worse", function()
      local gateway = w:gateway()
      gateway:write("weir.lua", "return {")
      gateway:wait_log("event=reload_refused", "cause=change", "weir.lua:1:")
      gateway:write("weir.lua", (w:config {}) .. "-- whole\n")
      gateway:wait_log("event=reloaded", "cause=change", "generation=2 ")
    end)
  end)

  describe("by command", function()
    it("says that it serves", function()
      local gateway = w:gateway { config = to("first") }
      local status, said = gateway:command("reload", "--wait")
      assert.same({ 0, "generation 2 serves\n" }, { status, said })
    end)

    it("prints what is wrong, and fails", function()
      local gateway = w:gateway { config = to("first") }
      gateway:write("weir.lua", "return {\n  nonsense = 1\n")
      local status, said = gateway:command("reload")
      assert.equal(3, status)
      assert.is_truthy(said:find("weir.lua:3:", 1, true), said)
      assert.is_truthy(select(2, gateway:command("status")):find("was refused", 1, true))
    end)

    it("says what came of it as JSON", function()
      local gateway = w:gateway { config = to("first") }
      local function ask(...)
        local status, said = gateway:command(...)
        return status, cjson.decode(said)
      end
      local status, said = ask("reload", "--json")
      assert.same({ 0, 2 }, { status, said.generation })
      status, said = ask("status", "--json")
      assert.same({ 0, 2, cjson.null }, { status, said.generation, said.refused })
      gateway:write("weir.lua", "return { nope")
      status, said = ask("reload", "--json")
      assert.equal(3, status)
      assert.is_truthy(cjson.encode(said):find("weir.lua:1:", 1, true))
    end)

    it("brings the version before back", function()
      local gateway = w:gateway { config = to("first") }
      local status, said = gateway:command("rollback")
      assert.equal(3, status)
      assert.is_truthy(said:find("no version before", 1, true))
      gateway:write("weir.lua", to("second"))
      gateway:reload(2)
      status, said = gateway:command("rollback")
      assert.same({ 0, "generation 3 serves\n" }, { status, said })
      assert.equal(3, served_by(gateway, first))
      gateway:command("rollback")
      assert.equal(4, served_by(gateway, second))
    end)

    it("tells a refused rollback from a refused reload", function()
      local gateway = w:gateway { config = to("first") }
      local function metrics() return gateway:ask_admin("/metrics") end
      gateway:command("rollback")
      gateway:wait_log("event=rollback_refused", "cause=rollback", "no version before")
      assert.truthy(metrics():find('weir_reloads_total{result="rollback_refused"} 1', 1, true))
      assert.truthy(metrics():find("\nweir_reload_refused 0\n", 1, true))
      assert.is_nil(gateway:log():find("reload_refused", 1, true))
      assert.is_nil(select(2, gateway:command("status")):find("refused", 1, true))
      assert.is_nil(gateway:request({ path = "/readyz" }):read_response().json.reload)
    end)

    it("leaves a refused reload told of when a rollback is refused", function()
      local gateway = w:gateway { config = to("first") }
      gateway:write("weir.lua", "return {")
      gateway:command("reload")
      gateway:wait_log("event=reload_refused")
      gateway:command("rollback")
      assert.truthy(gateway:ask_admin("/metrics"):find("\nweir_reload_refused 1\n", 1, true))
      assert.truthy(select(2, gateway:command("status")):find("weir.lua:1:", 1, true))
      local ready = gateway:request({ path = "/readyz" }):read_response()
      assert.truthy(ready.json.reload.refused:find("weir.lua:1:", 1, true))
    end)

    it("fails when no gateway is there", function()
      local gateway = w:gateway { config = to("first", ' admin = { listen = "off" },') }
      local status, said = gateway:command("reload")
      assert.equal(1, status)
      assert.is_truthy(said:find("data/admin.sock", 1, true))
    end)

    it("speaks to the packaged gateway where there is no weir.lua", function()
      local gateway = w:gateway { config = to("first") }
      local binary = require("spec.support.gateway").command()[1]
      if not binary:find("^/") then binary = require("lfs").currentdir() .. "/" .. binary end
      local own_run = "mount -t tmpfs none /run && mkdir /run/nowhere && cd /run/nowhere"
        .. " || exit 77; "
      local away = process.start { "unshare", "--mount", "sh", "-c", own_run
        .. '"$1" status; ln -s "$2/data" /run/weir && exec "$1" status', "sh", binary,
        gateway.folder }
      local status = away:wait()
      if status == 77 or away.text.err:find("unshare failed", 1, true) then
        return pending("/run cannot be another here: " .. away.text.err)
      end
      assert.equal("weir: no gateway answers at data/admin.sock: No such file or directory\n"
        .. "does one run? --config FILE names its weir.lua, --socket PATH its admin.listen\n",
        away.text.err)
      assert.matches("^generation 1, ", away.text.out)
      assert.equal(0, status)
    end)

    it("keeps its socket from others, and takes over what a killed gateway left", function()
      local lfs = require("lfs")
      local gateway = w:gateway { config = to("first") }
      local path = gateway.folder .. "/data/admin.sock"
      assert.equal("rw-------", lfs.attributes(path, "permissions"))
      gateway.process:kill()
      local again = process.start(require("spec.support.gateway").command("serve",
        gateway.folder .. "/weir.lua"), { KEY = "k" })
      again:wait_for("err", function(text) return text:find("event=listening", 1, true) end,
        "the second gateway")
      assert.equal(0, (gateway:command("status")))
      again:signal(libc.SIGTERM)
      assert.equal(0, again:wait())
      assert.is_nil(lfs.attributes(path, "mode"))
    end)
  end)
end)
