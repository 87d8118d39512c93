-- policy.check: the policies' own specs run before a version serves.

local gateway = require("spec.support.gateway")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

local GOOD = [[
local sim = require "weir.sim"

describe("the policy", function()
  it("says hello", function()
    assert.equal("hello", sim.request().json.says)
  end)
end)
]]

local function config(says, more)
  return ([[
return {
  listen = "127.0.0.1:0", workers = 1, reload = { watch = false },
  policy = { check = "hello_spec.lua"%s },
  providers = { first = { type = "openai", base_url = "http://127.0.0.1:1/v1" } },
  models = { default = function(req) return req:reply(200, { says = %q }) end },
}
]]):format(more or "", says)
end

describe("policy.check", function()
  local w, running

  before_each(function() w = world.new() end)
  after_each(function() w:close() end)

  local function start(spec, more, name)
    running = w:gateway {
      config = config("hello", more),
      files = { [name or "hello_spec.lua"] = spec or GOOD },
    }
    return running
  end

  local function says()
    return running:request({ body = openai.request() }):read_response().json.says
  end

  local function refused_with(...)
    running.process:signal(libc.SIGHUP)
    return running:wait_log("event=reload_refused", ...)
  end

  it("lets a version serve whose specs pass, and says how many", function()
    start()
    assert.equal("hello", says())
    running:reload(2)
    running:wait_log("event=reloaded", "generation=2 ", "specs=1")
  end)

  it("refuses a reload with the spec's name, file and line", function()
    start()
    running:write("weir.lua", config("good-bye"))
    local line = refused_with("the policy says hello")
    assert.is_truthy(line:find("hello_spec.lua:5: the spec", 1, true), line)
    assert.is_truthy(line:find("good%-bye"), line)
    assert.equal("hello", says())
    running:write("weir.lua", config("hello"))
    running:reload(2)
  end)

  it("refuses a spec that cannot be read, with its line", function()
    start()
    running:write("hello_spec.lua", "describe(\n")
    refused_with("hello_spec.lua:", "cannot be read", "unexpected symbol")
  end)

  it("refuses a folder that is not there, or holds no spec", function()
    start()
    running:write("weir.lua", (config("hello"):gsub("hello_spec.lua", "specs")))
    refused_with("policy.check: ", "specs is not there")
    assert(require("lfs").mkdir(running.folder .. "/specs"))
    refused_with("policy.check: no *_spec.lua is in ", "specs")
  end)

  it("ends specs that take too long, and names the one", function()
    start()
    running:write("weir.lua", config("hello", ", check_time = 0.3"))
    running:write("hello_spec.lua", "while true do end")
    refused_with("hello_spec.lua: this spec did not end: all of policy.check have 0.3 s")
    assert.equal("hello", says())
  end)

  it("survives a spec that ends its process", function()
    start()
    running:write("hello_spec.lua", "os.exit(0)")
    refused_with("problem=")
    assert.equal("hello", says())
  end)

  it("takes a changed spec for a change of the version", function()
    running = w:gateway {
      config = (config("hello"):gsub("watch = false", "watch = true")),
      files = { ["hello_spec.lua"] = GOOD },
    }
    running:write("hello_spec.lua", (GOOD:gsub('"hello"', '"good-bye"')))
    running:wait_log("event=reload_refused", "cause=change", "the policy says hello")
    running:write("hello_spec.lua", GOOD .. "\n")
    running:wait_log("event=reloaded", "cause=change", "generation=2 ")
  end)

  describe("on the command line", function()
    local folder

    local function run(command, spec)
      folder = gateway.folder { ["weir.lua"] = config("hello"), ["hello_spec.lua"] = spec }
      local child = process.start(gateway.command(command, folder .. "/weir.lua"))
      return child:wait(), child.text.out, child.text.err
    end

    after_each(function() gateway.remove_folder(folder) end)

    it("keeps a gateway from starting", function()
      local status, _, err = run("serve", (GOOD:gsub('"hello"', '"good-bye"')))
      assert.equal(3, status)
      local wanted = 'hello_spec.lua:5: the spec "the policy says hello" failed'
      assert.is_truthy(err:find(wanted, 1, true), err)
    end)

    it("is part of weir check", function()
      local status, out = run("check", GOOD)
      assert.equal(0, status)
      assert.is_truthy(out:find("hello_spec.lua: 1 passed", 1, true), out)
      gateway.remove_folder(folder)
      local err
      status, out, err = run("check", (GOOD:gsub('"hello"', '"good-bye"')))
      assert.same({ 3, "" }, { status, out })
      assert.is_truthy(err:find("hello_spec.lua:5: the spec", 1, true), err)
    end)
  end)
end)
