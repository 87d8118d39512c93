local fake = require("spec.support.fake")
local sandbox = require("weir.sandbox")

local function names_of(value)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  return names
end

describe("sandbox", function()
  local env, loaded

  before_each(function()
    loaded = {}
    env = sandbox.env(require("weir"), function(name)
      loaded[#loaded + 1] = name
      return { name = name }
    end)
  end)

  local function run(text)
    return setfenv(assert(loadstring(text)), env)()
  end

  it("has these names and no other", function()
    assert.same({
      "_G", "assert", "bit", "error", "getmetatable", "ipairs", "math", "next", "pairs", "pcall",
      "print", "rawequal", "rawget", "rawset", "require", "select", "setmetatable", "string",
      "table", "tonumber", "tostring", "type", "unpack",
    }, names_of(env))
  end)

  it("has these members in its libraries and no other", function()
    local golden = {
      bit = "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
      math = "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 "
        .. "max min modf pi pow rad random sin sinh sqrt tan tanh",
      string = "byte char find format gmatch gsub len lower match rep reverse sub upper",
      table = "concat insert maxn move remove sort",
    }
    for name, members in pairs(golden) do
      assert.equal(members, table.concat(names_of(env[name]), " "))
    end
  end)

  it("has no way to code, files, or what others see", function()
    local out = { "load", "loadstring", "dofile", "loadfile", "setfenv", "getfenv", "newproxy",
      "collectgarbage", "io", "os", "debug", "ffi", "jit", "package", "module", "coroutine" }
    for _, name in ipairs(out) do assert.is_nil(run("return " .. name), name) end
    assert.equal(env, run("return _G"))
  end)

  it("is fresh for each file", function()
    run("string.rep = nil; x = 1; table.insert = 5")
    local other = sandbox.env(require("weir"), require)
    assert.equal("function", type(other.string.rep))
    assert.equal("function", type(other.table.insert))
    assert.is_nil(other.x)
    assert.equal("function", type(string.rep))
  end)

  it("prints to the log", function()
    local host = fake.host()
    env = sandbox.env(require("weir.library").new(host), require)
    run("print('a', 1, nil, {})")
    assert.same({ level = "info", event = "print", fields = { text = "a\t1\tnil\ttable" } },
      host.logged[1])
  end)

  it("shows no addresses", function()
    assert.same({ "table", "function", "5", "nil", "x", "table: x" }, {
      run("return tostring({})"), run("return tostring(print)"), run("return tostring(5)"),
      run("return tostring(nil)"), run("return tostring('x')"), run("return tostring('table: x')"),
    })
    assert.equal("me", run("return tostring(setmetatable({}, "
      .. "{ __tostring = function() return 'me' end }))"))
  end)

  it("gives metatables of tables only", function()
    assert.is_nil(run("return getmetatable('x')"))
    assert.is_true(run("local t = {} return getmetatable(setmetatable({}, t)) == t"))
  end)

  it("is enough for the shipped policies and what they require", function()
    local files = {}
    local function require_own(name)
      if name == "weir" then return require("weir") end
      if files[name] == nil then
        local chunk = loadfile(name:gsub("%.", "/") .. ".lua")
          or assert(loadfile("lua/" .. name:gsub("%.", "/") .. ".lua"))
        files[name] = setfenv(chunk, sandbox.env(require("weir"), require_own))()
      end
      return files[name]
    end
    local redact, waterfall = require_own("policies.redact"), require_own("policies.waterfall")
    local req = fake.request({ groq = {
      stream = true, events = { fake.event { text = "a@b" }, fake.event { text = ".cc" },
        fake.event { kind = "done" } },
    } }, { body = { prompt = "to a@b.cc" } })
    local events = redact(waterfall { "groq/a" })(req):play()
    assert.equal("to [email]", req.body.prompt)
    assert.equal("[email]", events[1].text .. events[2].text)
  end)

  it("requires through whoever made it", function()
    assert.equal("policies.x", run("return require('policies.x').name"))
    assert.same({ "policies.x" }, loaded)
  end)
end)

describe("the sandbox of a file whose text is known", function()
  local function env(text)
    return sandbox.env(require("weir"), require, text)
  end

  it("has the libraries that the text names", function()
    local made = env("return math.max(1, #table.concat(list))")
    assert.equal(math.max, made.math.max)
    assert.equal(table.concat, made.table.concat)
    assert.is_nil(made.string)
    assert.is_nil(made.bit)
  end)

  it("has all of them when the text may name them in another way", function()
    local made = env("return _G[name]")
    for _, name in ipairs { "bit", "math", "string", "table" } do
      assert.is_table(made[name], name)
    end
  end)
end)
