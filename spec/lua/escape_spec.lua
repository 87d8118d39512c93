-- What a policy might try to get out of its file: each attempt is a chunk in the sandbox.

require("spec.support.fake")
local sandbox = require("weir.sandbox")

describe("out of the sandbox", function()
  local weir = require("weir")
  local mine, other

  before_each(function()
    mine, other = sandbox.env(weir, require), sandbox.env(weir, require)
  end)

  local function run(text, env)
    return setfenv(assert(loadstring(text)), env or mine)()
  end

  --- The text raises, or gives nothing that is true.
  local function assert_in_vain(text)
    local ok, result = pcall(run, text)
    assert.is_false(ok and result and true or false, text)
  end

  for name, text in pairs {
    ["loadstring"] = "return loadstring('return 1')",
    ["load"] = "return load(function() end)",
    ["dofile"] = "return dofile('/etc/passwd')",
    ["loadfile"] = "return loadfile('/etc/passwd')",
    ["string.dump"] = "return string.dump(function() end)",
    ["getfenv"] = "return getfenv(0)",
    ["getfenv of print"] = "return getfenv(print).io",
    ["setfenv"] = "return setfenv(1, {})",
    ["newproxy"] = "return newproxy(true)",
    ["debug"] = "return debug.getregistry()",
    ["ffi"] = "return ffi or _G.ffi",
    ["jit"] = "return jit.on()",
    ["package"] = "return package.loaded",
    ["io"] = "return io.open('/etc/passwd')",
    ["os"] = "return os.execute('true')",
    ["collectgarbage"] = "return collectgarbage('count')",
    ["coroutine"] = "return coroutine.running()",
    ["xpcall"] = "return xpcall(error, print)",
    ["module"] = "return module('x')",
    ["gcinfo"] = "return gcinfo()",
    ["the metatable of strings"] = "return getmetatable('').__index",
    ["the metatable of numbers"] = "return getmetatable(1)",
    ["the metatable of functions"] = "return getmetatable(print)",
    ["the metatable of weir"] = "return getmetatable(require('weir'))",
    ["the metatable of a window"] = "return getmetatable(require('weir').window(8))",
    ["the metatable of lists"] = "return getmetatable(require('weir').json.array {})",
    ["another metatable for a string"] = "return setmetatable('', {})",
    ["another metatable for weir"] = "return setmetatable(require('weir'), {})",
    ["another metatable for a function"] = "return setmetatable(print, {})",
    ["__metatable set to nil"] = "require('weir').__metatable = nil return true",
    ["an assignment to weir"] = "require('weir').env = print return true",
    ["an assignment to weir.log"] = "require('weir').log.info = print return true",
    ["rawset of weir"] = "return rawset(require('weir'), 'env', print)",
    ["rawset of weir.json"] = "return rawset(require('weir').json, 'encode', print)",
    ["table.insert into weir"] = "table.insert(require('weir'), 1) return true",
    ["rawget of weir"] = "return rawget(require('weir'), 'env')",
    ["next of weir"] = "return next(require('weir'))",
    ["_G without end"] = "return _G._G._G.io",
    ["a global through __index of _G"] =
      "setmetatable(_G, { __index = function(t, k) return rawget(t, k) end }) return io",
    ["an error object of the host's"] = [[
      local ok, err = pcall(require('weir').sleep, {})
      return type(err) ~= 'string']],
    ["an environment from an error"] = [[
      local ok, err = pcall(function() return nil + 1 end)
      return getmetatable(err)]],
    ["an address of a table"] = "return tostring({}):find('0x')",
    ["an address of a function"] = "return tostring(print):find('0x')",
    ["an address of weir"] = "return tostring(require('weir')):find('0x')",
  } do
    it("leads no " .. name, function()
      assert_in_vain(text)
    end)
  end

  it("leads no __gc", function()
    _G.escaped = nil
    run("setmetatable({}, { __gc = function() _G.escaped = true end })")
    collectgarbage()
    collectgarbage()
    assert.is_nil(mine.escaped)
  end)

  it("leads no change of a library, which others would see", function()
    for _, text in ipairs {
      "string.rep = nil", "table.concat = nil", "math.floor = print", "bit.band = nil",
      "rawset(string, 'rep', nil)", "tostring = nil", "_G.pcall = nil", "print = nil",
      "setmetatable(string, { __index = function() return print end })",
      "setmetatable(_G, { __index = function() return 1 end })", "x = 1", "_G._G = nil",
    } do
      run(text)
    end
    assert.same({ "xx", "a", 1, 1 }, run([[return {
      string.rep("x", 2), table.concat { "a" }, math.floor(1.5), bit.band(1, 3) }]], other))
    assert.equal("xx", run("return ('x'):rep(2)", other))
    assert.is_nil(run("return x or string.nothing", other))
    assert.equal("function", type(pcall))
  end)

  it("keeps upvalues to themselves", function()
    assert_in_vain("return debug and debug.getupvalue(print, 1)")
    assert.is_nil(run("return getfenv"))
  end)
end)
