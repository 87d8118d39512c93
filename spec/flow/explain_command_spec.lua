local gateway = require("spec.support.gateway")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

describe("weir explain", function()
  local folder

  before_each(function()
    folder = gateway.folder {
      ["weir.lua"] = [[
local weir = require("weir")
local waterfall = require("policies.waterfall")
return {
  providers = {
    groq   = { type = "groq", key = weir.env "NO_SUCH_KEY", timeout = { first = 7 } },
    laptop = { type = "openai", base_url = "http://127.0.0.1:1/v1" },
  },
  models = {
    default = waterfall { "groq/llama", "laptop/llama" },
    house = function(req) return req:reply(200, "none of your business") end,
    broken = function() error("oh") end,
  },
}
]],
      ["body.json"] = '{ "seed": 12345678901234567890, "logprobs":true,'
        .. '"messages":[{}],"model":"x"}',
    }
  end)

  after_each(function() gateway.remove_folder(folder) end)

  local function run(...)
    local argv = { ... }
    argv[#argv + 1] = folder .. "/weir.lua"
    local child = process.start(gateway.command("explain", unpack(argv)))
    return child:wait(), child.text.out, child.text.err
  end

  local function has(text, ...)
    for _, part in ipairs { ... } do assert.truthy(text:find(part, 1, true), text) end
  end

  it("lists who would be asked, with what and how long", function()
    local status, out = run("default")
    assert.equal(0, status)
    has(out, "by the configuration alone\n",
      "1  groq/llama\n     to       https://api.groq.com/openai/v1/chat/completions\n",
      "connect 5 s, first 7 s, idle 30 s, total 600 s", "2  laptop/llama\n",
      '"model":"llama"', "=  503 (retry-after 5)  overloaded: all 2 targets failed")
  end)

  it("shows the body that would go out, byte for byte", function()
    local _, out = run("default", "--body", folder .. "/body.json", "--stream")
    has(out, '{"stream":true, "seed": 12345678901234567890,"messages":[{}],"model":"llama"',
      '{"stream":true, "seed": 12345678901234567890, "logprobs":true,"messages":[{}],'
        .. '"model":"llama"')
  end)

  it("leaves out what is said to cool", function()
    local _, out = run("default", "--cool", "groq=90")
    has(out, "1  laptop/llama\n", "-  groq/llama is left out: it cools for 90 s")
  end)

  it("goes by the failure that is asked for", function()
    local _, out = run("default", "--fail", "client_error")
    has(out, "1  groq/llama\n", "-  laptop/llama is not tried", "=  400  ")
    _, out = run("default", "--fail", "timeout")
    has(out, "2  laptop/llama, after 7 s\n", "=  504  timeout")
  end)

  it("says what a policy answers by itself, and how it fails", function()
    local _, out = run("house")
    has(out, "nobody is asked", "none of your business")
    _, out = run("broken")
    has(out, "!  ", "weir.lua:11: oh", "=  500  policy_error")
  end)

  it("refuses a model, a word, a file and a configuration that it cannot use", function()
    local status, out, err, _ = run("nope")
    assert.same({ 1, "" }, { status, out })
    has(err, "no model is called 'nope'")
    status, _, err = run("default", "--fail", "sadness")
    assert.equal(1, status)
    has(err, "--fail knows no 'sadness'")
    assert.equal(1, (run("default", "--body", folder .. "/nowhere")))
    assert.equal(2, (run("default", "--fast")))
    assert.equal(2, (run("default", "--cool", "groq")))
    local child = process.start(gateway.command("explain", "default", folder .. "/body.json"))
    assert.equal(3, child:wait())
  end)
end)

describe("weir explain beside a gateway that runs", function()
  local w, first, second, running

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
    running = w:gateway { more = "  workers = 1, reload = { watch = false }," }
  end)
  after_each(function() w:close() end)

  local function explain(...)
    local status, said = running:command("explain", ...)
    return said, status
  end

  local function has(text, ...)
    for _, part in ipairs { ... } do assert.truthy(text:find(part, 1, true), text) end
  end

  it("knows what cools there, and how fast targets answered", function()
    local client = running:chat()
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "600" })
    second:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
    local said, status = explain("default")
    assert.equal(0, status)
    has(said, "by what the gateway knows now; generation 1\n", "1  second/second-model\n",
      "second/second-model: first content after ")
    local wanted = "first/first%-model is left out: it cools for [56]%d%d s %(rate_limited%)"
    assert.truthy(said:find(wanted), said)
    assert.is_false(second:is_asked())
  end)

  it("changes nothing there", function()
    local before = explain("default", "--fail", "rate_limited", "--cool", "first=90")
    assert.equal(before, (explain("default", "--fail", "rate_limited", "--cool", "first=90")))
    has(explain("default"), "1  first/first-model\n", "2  second/second-model\n")
  end)

  it("goes by the version that serves, whatever the disk says", function()
    running:write("weir.lua", "broken")
    local said, status = explain("default")
    assert.equal(0, status)
    has(said, "1  first/first-model\n")
    said, status = explain("default", "--offline")
    assert.equal(3, status)
    has(said, "weir.lua:1:")
  end)

  it("gives its errors, and its exit code", function()
    local said, status = explain("default", "--fail", "sadness")
    assert.equal(1, status)
    has(said, "--fail knows no 'sadness'")
  end)

  it("has what weir.shared holds there", function()
    running:write("weir.lua", w:config {
      more = "  workers = 1, reload = { watch = false },",
      models = [[
        default = function(req)
          local counted = weir.shared("spec"):incr("calls", 1)
          return req:reply(200, { calls = counted })
        end,]],
    })
    running:reload(2)
    assert.equal(1, running:chat():read_response().json.calls)
    has(explain("default"), "generation 2\n", '"calls":2')
    has(explain("default"), '"calls":2')
    assert.equal(2, running:chat():read_response().json.calls)
  end)
end)
