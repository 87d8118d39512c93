local fake = require("spec.support.fake")

--- A fresh module: it remembers every list that was made.
local function load()
  package.loaded["weir.targets"] = nil
  return require("weir.targets")
end

--- What C finds by walking upvalues, written down.
local function reaches_by(owners)
  return function(policy, list) return owners[list] == policy end
end

describe("targets.list", function()
  local targets

  before_each(function() targets = load() end)
  after_each(function() fake.shared_host.where = function() end end)

  it("gives the list back and records it", function()
    local first, second = { "groq/a" }, { "laptop/b", "openrouter/*" }
    assert.equal(first, targets.list(first))
    assert.equal(second, targets.list(second))
    assert.same({ first, second }, targets.recorded())
  end)

  it("takes models with slashes, colons and a star", function()
    targets.list { "openrouter/meta-llama/llama-3:free", "openrouter/*", "a_b.c-d/x y" }
  end)

  it("names the position of what is no target, at the line of whoever asked", function()
    local bad = {
      [ [[target 1 must be "provider/model", not "groq"]] ] = { "groq" },
      [ [[target 2 must be "provider/model", not "/x"]] ] = { "groq/a", "/x" },
      [ [[target 2 must be "provider/model", not "x/"]] ] = { "groq/a", "x/" },
      [ [[target 1 must be "provider/model", not "a b/c"]] ] = { "a b/c" },
      [ [[target 1 must be "provider/model", not a number]] ] = { 5 },
      [ [[target 1 must be "provider/model", not nothing]] ] = { nil, "groq/a" },
      [ [[targets must name at least one "provider/model"]] ] = {},
      [ [[targets must be a list of "provider/model", not "groq/a"]] ] = "groq/a",
      [ [[targets must be a list of "provider/model", not nothing]] ] = false,
    }
    local function constructor(list)
      local checked = targets.list(list or nil)
      return checked
    end
    for message, list in pairs(bad) do
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, err = pcall(function() return (constructor(list)) end)
      assert.is_false(ok)
      assert.equal(("./spec/lua/targets_spec.lua:%d: %s"):format(line, message),
        (err:gsub("^spec", "./spec")))
    end
    assert.same({}, targets.recorded())
  end)

  it("refuses control characters without printing them raw", function()
    local ok, err = pcall(targets.list, { "groq/a\27[31m" })
    assert.is_false(ok)
    assert.truthy(err:find("target 1 must be", 1, true))
  end)
end)

describe("targets.problems", function()
  local targets
  local function one() end
  local function two() end
  local settings = {
    providers = { { name = "cerebras" }, { name = "groq" } },
    models = { { name = "default", policy = one }, { name = "my model", policy = two } },
  }

  before_each(function() targets = load() end)
  after_each(function() fake.shared_host.where = function() end end)

  it("finds nothing where every provider is there", function()
    targets.list { "groq/a", "cerebras/b/c" }
    assert.same({}, targets.problems(settings, function() return true end))
  end)

  it("names the model, the target and what was meant", function()
    local list = targets.list { "groq/a", "grok/llama/3", "nowhere/x" }
    assert.same({
      { path = "models.default", message = "target 'grok/llama/3' names no provider",
        suggestion = "groq/llama/3" },
      { path = "models.default", message = "target 'nowhere/x' names no provider" },
    }, targets.problems(settings, reaches_by { [list] = one }))
  end)

  it("quotes a model's name that is no word, and the fallback's", function()
    local first, second = targets.list { "x/a" }, targets.list { "x/b" }
    settings.fallback = function() end
    local owners = { [first] = two, [second] = settings.fallback }
    local problems = targets.problems(settings, reaches_by(owners))
    settings.fallback = nil
    assert.equal('models["my model"]', problems[1].path)
    assert.equal('models["*"]', problems[2].path)
  end)

  it("names the line of a list that no model reaches", function()
    local asked
    fake.shared_host.where = function(level)
      asked = level
      return "weir.lua:12"
    end
    targets.list { "x/a" }
    local problems = targets.problems(settings, function() return false end)
    assert.equal("weir.lua:12", problems[1].path)
    assert.equal(3, asked)
    settings.fallback = function() end
    problems = targets.problems(settings, function() return false end)
    settings.fallback = nil
    assert.equal("weir.lua:12", problems[1].path)
  end)

  it("lives without a line", function()
    targets.list { "x/a" }
    local problems = targets.problems(settings, function() return false end)
    assert.equal("weir.targets", problems[1].path)
  end)
end)

describe("targets.of", function()
  it("lists what a policy may try, each once, in order", function()
    local targets = load()
    local function policy() end
    local first = targets.list { "groq/a", "cerebras/b" }
    targets.list { "groq/other" }
    local last = targets.list { "laptop/c", "groq/a" }
    local reaches = reaches_by { [first] = policy, [last] = policy }
    assert.same({ "groq/a", "cerebras/b", "laptop/c" }, targets.of(policy, reaches))
    assert.same({}, targets.of(function() end, reaches))
  end)
end)
