local gateway = require("spec.support.gateway")
local process = require("spec.support.process")

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
    has(out, "1  groq/llama\n     to       https://api.groq.com/openai/v1/chat/completions\n",
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
