local fake = require("spec.support.fake")
local library = require("weir.library")

describe("weir", function()
  local host, weir

  before_each(function()
    host = fake.host()
    weir = library.new(host)
  end)

  --- The message, which has to point at the line of the call in this file.
  local function error_of(call, ...)
    local arguments, count = { ... }, select("#", ...)
    local ok, err = pcall(function()
      local result = call(unpack(arguments, 1, count))
      return result
    end)
    assert.is_false(ok)
    assert.truthy(err:find("library_spec.lua:%d+: "), err)
    return (err:gsub("^.-:%d+: ", ""))
  end

  it("gives secrets that do not show themselves", function()
    assert.equal("secret from env KEY", tostring(weir.env("KEY")))
    assert.equal("secret from file /x", tostring(weir.file("/x")))
  end)

  it("logs an event with its fields", function()
    weir.log.info("chose", { target = "groq/a" })
    weir.log.error("oh")
    assert.same({
      { level = "info", event = "chose", fields = { target = "groq/a" } },
      { level = "error", event = "oh", fields = {} },
    }, host.logged)
    assert.truthy(weir.log.debug and weir.log.warn)
  end)

  it("tells both clocks and sleeps", function()
    assert.equal(1000, weir.now())
    assert.equal(1700000000, weir.time())
    weir.sleep(0.5)
    assert.same({ 0.5 }, host.slept)
  end)

  it("reads and writes JSON", function()
    assert.same({ a = { 1, weir.json.null } }, weir.json.decode('{"a":[1,null]}'))
    local value, problem = weir.json.decode("{")
    assert.is_nil(value)
    assert.equal("string", type(problem))
    assert.equal('{"a":[]}', weir.json.encode { a = weir.json.array {} })
  end)

  it("names the argument that is wrong, at the line of the call", function()
    assert.equal("bad argument #1 to weir.env: expected a string, got nothing",
      error_of(weir.env))
    assert.equal("bad argument #1 to weir.file: expected a string, got a number",
      error_of(weir.file, 5))
    assert.equal("bad argument #1 to weir.log.warn: expected a string, got a table",
      error_of(weir.log.warn, {}))
    assert.equal("bad argument #2 to weir.log.warn: expected a table, got a string",
      error_of(weir.log.warn, "x", "y"))
    assert.equal("bad argument #1 to weir.sleep: expected a number, got nothing",
      error_of(weir.sleep))
    assert.equal("bad argument #1 to weir.json.decode: expected a string, got a table",
      error_of(weir.json.decode, {}))
    assert.equal("weir.json.encode: a function has no JSON", error_of(weir.json.encode, print))
    assert.truthy(error_of(weir.window, 0):find("weir.window", 1, true))
    assert.truthy(error_of(weir.window, "x"):find("weir.window", 1, true))
    assert.truthy(error_of(weir.window, 10, 0):find("argument #2", 1, true))
  end)

  it("does not sleep for a time that is none", function()
    for _, seconds in ipairs { -1, 0 / 0, 1 / 0, 86401 } do
      assert.equal("bad argument #1 to weir.sleep: must be 0 to 86400 seconds",
        error_of(weir.sleep, seconds))
    end
    assert.same({}, host.slept)
  end)

  it("cannot be changed, for all files share it", function()
    assert.has_error(function() weir.sleep = print end, nil)
    assert.equal("weir.log.info cannot be set", error_of(function() weir.log.info = print end))
    assert.is_nil(weir.nothing)
    assert.is_false(getmetatable(weir))
  end)
end)
