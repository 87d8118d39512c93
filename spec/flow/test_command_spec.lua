local gateway = require("spec.support.gateway")
local lfs = require("lfs")
local process = require("spec.support.process")

describe("weir test", function()
  local folders

  before_each(function() folders = {} end)

  after_each(function()
    for _, path in ipairs(folders) do gateway.remove_folder(path) end
  end)

  --- A folder with these files, "spec/a_spec.lua" among them.
  local function folder(files)
    local path = gateway.folder(files)
    folders[#folders + 1] = path
    return path
  end

  local function run(...)
    local child = process.start(gateway.command("test", ...))
    return child:wait(), child.text.out, child.text.err
  end

  local function last_line(text) return text:match("([^\n]*)\n$") end

  it("passes what passes, and says how much", function()
    local path = folder {
      ["a_spec.lua"] = 'it("holds", function() assert.equal(1, 1) end)\n',
      ["spec/b_spec.lua"] = 'describe("b", function() it("too", function() end) end)\n',
      ["spec/helper.lua"] = 'error("not a spec")\n',
    }
    local status, out = run(path)
    assert.equal(0, status)
    assert.equal("2 passed, 0 failed\n", out)
  end)

  it("names what fails, with its place and its reason", function()
    local path = folder { ["a_spec.lua"] = [[
describe("sums", function()
  it("add up", function()
    assert.equal(3, 1 + 1)
  end)
  it("hold", function() end)
end)
]] }
    local status, out = run(path)
    assert.equal(1, status)
    assert.equal("1 passed, 1 failed", last_line(out))
    assert.truthy(out:find("FAILED   sums add up\n", 1, true), out)
    assert.truthy(out:find("a_spec.lua:3: expected: 3\n    got:      2", 1, true), out)
  end)

  for name, body in pairs {
    ["an error"] = 'it("x", function() error("oh") end)',
    ["a failing hook"] = 'before_each(function() error("oh") end) it("x", function() end)',
    ["a failing hook after it"] = 'after_each(function() error("oh") end) it("x", function() end)',
    ["a spec that cannot be read"] = 'it("x", function() end',
    ["a spec that raises while it is read"] = 'error("oh")',
    ["an unknown assertion"] = 'it("x", function() assert.nice(1) end)',
    ["a missing module"] = 'require("policies.nowhere")',
  } do
    it("fails for " .. name, function()
      local status, out = run(folder { ["a_spec.lua"] = body .. "\n" })
      assert.equal(1, status)
      assert.equal("0 passed, 1 failed", last_line(out))
    end)
  end

  for check, pair in pairs {
    equal = { '1, 1', '1, 2' },
    not_equal = { '1, 2', '1, 1' },
    same = { '{ a = { 1 } }, { a = { 1 } }', '{ a = { 1 } }, { a = { 1 }, b = 2 }' },
    is_nil = { 'nil', 'false' },
    is_not_nil = { 'false', 'nil' },
    is_true = { 'true', '1' },
    is_false = { 'false', 'nil' },
    truthy = { '1', 'nil' },
    falsy = { 'nil', '1' },
    matches = { '"^a%d", "a1"', '"^b", "a"' },
    has_error = { 'function() error("x") end, "x"', 'function() error("y") end, "x"' },
    has_no_error = { 'function() end', 'function() error("x") end' },
  } do
    it("has assert." .. check .. ", which can fail", function()
      local status, out = run(folder { ["a_spec.lua"] = ([[
it("holds", function() assert.%s(%s) end)
it("fails", function() assert.%s(%s) end)
]]):format(check, pair[1], check, pair[2]) })
      assert.equal(1, status)
      assert.equal("1 passed, 1 failed", last_line(out))
      assert.truthy(out:find("FAILED   fails\n", 1, true))
    end)
  end

  it("runs the same words as busted does", function()
    local path = folder { ["a_spec.lua"] = [[
describe("hooks", function()
  local trace = {}
  before_each(function() trace[#trace + 1] = "outer" end)
  after_each(function() trace[#trace + 1] = "end" end)
  describe("within", function()
    before_each(function() trace[#trace + 1] = "inner" end)
    it("come in order", function() assert.same({ "outer", "inner" }, trace) end)
  end)
  it("go in order", function() assert.same({ "outer", "inner", "end", "outer" }, trace) end)
  pending("is not written")
  it("stops", function() pending("for want of time") error("not here") end)
end)
]] }
    local status, out = run(path)
    assert.equal(0, status)
    assert.equal("2 passed, 0 failed, 2 pending", last_line(out))
    local child = process.start { "luajit", "/usr/bin/busted", "-o", "plainTerminal", path }
    assert.equal(0, child:wait(), child.text.out)
    assert.truthy(child.text.out:find("2 successes / 0 failures / 0 errors / 2 pending", 1, true))
  end)

  it("plays against the weir.lua above a spec, whose secrets need not be there", function()
    local path = folder {
      ["weir.lua"] = [[
local weir = require("weir")
local twice = require("twice")
return {
  providers = { groq = { type = "groq", key = weir.env "NO_SUCH_KEY" } },
  models = { default = twice("groq/m") },
}
]],
      ["policies/twice.lua"] = [[
return function(target)
  return function(req)
    local res = req:send(target)
    if res then return res end
    return req:send(target)
  end
end
]],
      ["spec/twice_spec.lua"] = [[
local sim = require("weir.sim")
it("asks twice", function()
  sim.provider("groq"):answers("reset"):answers(200, { text = "there" })
  local result = sim.request()
  assert.equal("there", result.text)
  assert.same({ "groq/m", "groq/m" }, result.targets)
end)
]],
    }
    local status, out = run(path)
    assert.equal("1 passed, 0 failed\n", out)
    assert.equal(0, status)
    assert.equal(0, (run(path .. "/spec/twice_spec.lua")))
  end)

  it("keeps policies in their sandbox, and gives specs all of Lua", function()
    local path = folder {
      ["policies/curious.lua"] = "return { io = io, os = os, debug = debug, load = loadstring }\n",
      ["a_spec.lua"] = [[
it("holds", function()
  assert.same({}, require("policies.curious"))
  assert.is_not_nil(io.open("/dev/null"))
end)
]],
    }
    local weir = gateway.command()[1]
    if weir:sub(1, 1) ~= "/" then weir = lfs.currentdir() .. "/" .. weir end
    local child = process.start { "sh", "-c", 'cd "$0" && exec "$1" test', path, weir }
    assert.equal(0, child:wait(), child.text.out)
    assert.equal("1 passed, 0 failed\n", child.text.out)
  end)

  it("refuses what it does not know", function()
    for _, word in ipairs { "--fast", "nowhere.lua" } do
      local status, out, err = run(word)
      assert.equal(2, status)
      assert.equal("", out)
      assert.truthy(err:find(word, 1, true))
    end
  end)
end)
