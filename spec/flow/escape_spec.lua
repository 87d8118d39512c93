-- The sandbox in the built gateway: files, modules, bytecode, and what two policies share.

local gateway = require("spec.support.gateway")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local world = require("spec.support.world")

libc.ffi.cdef("int symlink(const char *target, const char *path);")
libc.ffi.cdef("int mkdir(const char *path, unsigned mode);")

describe("a policy's file", function()
  local folder

  before_each(function()
    folder = gateway.folder { ["outside.lua"] = "return 'outside'" }
    assert.equal(0, libc.C.mkdir(folder .. "/inside", 493))
    assert.equal(0, libc.C.mkdir(folder .. "/inside/policies", 493))
  end)

  after_each(function()
    gateway.remove_folder(folder)
  end)

  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end

  --- What `weir check` says of a weir.lua that begins so.
  local function check(begin)
    write("inside/weir.lua", begin .. [[

      return { providers = { a = { type = "openai", base_url = "http://127.0.0.1:1/v1" } },
        models = { m = function() end } }]])
    local child = process.start(gateway.command("check", folder .. "/inside/weir.lua"))
    local status = child:wait(20)
    return status, child.text.err
  end

  for _, name in ipairs { "../outside", "..outside", "policies/../../outside", "/etc/passwd", "",
    "outside\\0", ".outside", "weir.host", "weir.sandbox\\0", "policies.", "os", "ffi", "jit",
    "string", "debug", "~root", "a b" } do
    it(("cannot require %q"):format(name), function()
      local status, said = check(("require(\"%s\")"):format(name))
      assert.equal(3, status)
      assert.is_truthy(said:find("module", 1, true), said)
    end)
  end

  it("cannot require through a link that leads out, be it a file or a folder", function()
    assert.equal(0, libc.C.symlink("../outside.lua", folder .. "/inside/linked.lua"))
    assert.equal(0, libc.C.symlink(folder, folder .. "/inside/up"))
    for _, name in ipairs { "linked", "up.outside" } do
      local status, said = check(("require %q"):format(name))
      assert.equal(3, status)
      assert.is_truthy(said:find("leads out", 1, true), said)
    end
  end)

  it("can require through a link that stays within", function()
    write("inside/policies/real.lua", "return 1")
    assert.equal(0, libc.C.symlink("policies/real.lua", folder .. "/inside/linked.lua"))
    assert.equal(0, (check('assert(require "linked" == 1)')))
  end)

  it("is text, never bytecode", function()
    write("inside/coded.lua", string.dump(loadstring("return 1")))
    local status, said = check('require "coded"')
    assert.equal(3, status)
    assert.is_truthy(said:find("coded", 1, true), said)
  end)

  it("gets copies of Weir's own tables", function()
    local status, said = check([[
      local openai = require "weir.providers.openai"
      for name in pairs(openai) do openai[name] = nil end
      require("weir.provider").extend = nil
      assert(require("weir.provider").extend, "extend is gone")]])
    assert.equal(0, status, said)
  end)
end)

describe("two policies", function()
  local w

  before_each(function()
    w = world.new()
    w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  it("do not see what the other does to what both have", function()
    local gateway_ = w:gateway {
      files = {
        ["vandal.lua"] = [[
          local weir = require "weir"
          local pcall, rawset, setmetatable, ipairs = pcall, rawset, setmetatable, ipairs
          local acts = {
            function() string.rep = nil end, function() table.concat = nil end,
            function() getmetatable("").__index = {} end,
            function() rawset(getmetatable(weir.json.array {}), "__index", print) end,
            function() rawset(weir, "json", nil) end, function() weir.log.info = nil end,
            function() getmetatable(weir.window(8)).map = nil end,
            function() _G.pcall = nil end, function() setmetatable(_G, { __index = weir }) end,
          }
          return function(req)
            for i = 1, #acts do pcall(acts[i]) end
            for _, value in ipairs { req, req.body, req.headers, req.trail } do
              pcall(rawset, value, "send", nil)
              pcall(setmetatable, value, { __index = print })
              local metatable = getmetatable(value)
              if metatable then metatable.__index = nil end
            end
            return req:reply(200, "done")
          end]],
        ["citizen.lua"] = [[
          local weir = require "weir"
          return function(req)
            local list = weir.json.decode("[1]")
            return req:reply(200, { text = ("x"):rep(3) .. table.concat { "y", 1 },
              json = weir.json.encode { a = 1 }, list = #list, none = list.none == nil,
              window = type(weir.window(8).map), log = type(weir.log.info),
              content = req.body.messages[1].content, pcall = type(pcall) })
          end]],
      },
      models = 'vandal = require "vandal", citizen = require "citizen",',
    }
    assert.equal(200, gateway_:chat { model = "vandal" }:read_response().status)
    local seen = gateway_:chat { model = "citizen" }:read_response().json
    assert.same({ text = "xxxy1", json = '{"a":1}', list = 1, none = true, window = "function",
      log = "function", content = "hi", pcall = "function" }, seen)
  end)
end)
