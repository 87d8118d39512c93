-- Every set-up in examples/ is checked and served, its providers replaced by mocks; and what the
-- README and docs/ show is what stands in examples/.

local example = require("spec.support.example")
local gateway = require("spec.support.gateway")
local http = require("spec.support.http")
local lfs = require("lfs")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local read_file = require("spec.support.read_file")
local world = require("spec.support.world")

local KEYS, files_below = example.KEYS, example.files_below
local NO_KEYS = {}
for name in pairs(KEYS) do NO_KEYS[name] = false end

--- The folders in examples/ that have a weir.lua.
local function examples()
  local list = {}
  for name in lfs.dir("examples") do
    local has_one = lfs.attributes("examples/" .. name .. "/weir.lua", "mode") == "file"
    if has_one then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

describe("the examples", function()
  local w, mocks, served

  before_each(function()
    w, mocks, served = world.new(), {}, nil
  end)

  after_each(function()
    w:close()
    if served then served:discard() end
  end)

  --- The base URL of a provider; its mock is started when it is first asked for.
  local function url(name, ...)
    mocks[name] = mocks[name] or w:mock(name, "--name", name, "--keep", ...)
    return mocks[name].url
  end

  local function serve(name, env)
    served = example.serve(name, url, env)
  end

  --- A chat with the example; more are further members of the body.
  local function ask(model, more, headers)
    local body = { model = model, messages = { { role = "user", content = "Hello" } } }
    for name, value in pairs(more or {}) do body[name] = value end
    headers = headers or served.headers
    local client = http.connect(served.port)
    local response = client:request { body = body, headers = headers }:read_response()
    client:close()
    return response
  end

  local function target_of(...)
    local response = ask(...)
    assert.equal(200, response.status, response.body)
    return response.headers["x-weir-target"]
  end

  --- The last request that a mock had.
  local function request_of(name)
    local list = http.connect(mocks[name].port):request { path = "/mock/requests" }
      :read_response().json
    return list[#list]
  end

  local function stop()
    assert.equal(0, served:stop())
  end

  for _, name in ipairs(examples()) do
    it("in " .. name .. " passes weir check", function()
      local path = "examples/" .. name .. "/weir.lua"
      local child = process.start(gateway.command("check", path), KEYS)
      assert.equal(0, child:wait(), child.text.err)
    end)

    it("in " .. name .. " serves its models, plain and streamed", function()
      serve(name, name == "demo" and NO_KEYS or KEYS)
      local list = http.connect(served.port):request { path = "/v1/models",
        headers = served.headers }:read_response().json.data
      assert.is_true(#list > 0)
      for _, model in ipairs(list) do
        assert.equal(200, ask(model.id).status, model.id)
        local response = ask(model.id, { stream = true })
        assert.equal("complete", response.ended, model.id)
        assert.equal("data: [DONE]\n\n", response.body:sub(-14), model.id)
      end
      stop()
    end)
  end

  it("in demo goes on when the first is rate limited", function()
    url("first", "--rpm", "1", "--ratelimit", "groq")
    serve("demo", NO_KEYS)
    assert.equal("first/demo", target_of("default"))
    assert.equal("second/demo", target_of("default"))
    assert.equal("second/demo", target_of("any other name"))
  end)

  it("in demo asks a real provider first when its key is there", function()
    local env = { GROQ_API_KEY = "gsk_of_an_example" }
    for name in pairs(KEYS) do env[name] = env[name] or false end
    local child = process.start(gateway.command("check", "examples/demo/weir.lua"), env)
    assert.equal(0, child:wait(), child.text.err)
    assert.is_truthy(child.text.out:find("default%s+groq/llama%-3%.3%-70b%-versatile, first/"))
  end)

  it("in free-tiers falls back to the laptop", function()
    for _, name in ipairs { "groq", "cerebras", "openrouter" } do
      url(name, "--status", "429", "--shape", name)
    end
    serve("free-tiers")
    local response = ask("default", { stream = true })
    assert.equal("laptop/llama3.2", response.headers["x-weir-target"])
    assert.equal("4", response.headers["x-weir-attempts"])
  end)

  it("in local-first pays only when the desk is busy", function()
    url("desk", "--status", "503", "--fault-first", "1")
    serve("local-first")
    assert.equal("openai/gpt-4o-mini", target_of("default"))
    assert.equal("desk/llama3.2", target_of("default"))
    assert.equal("desk/llama3.2", target_of("private"))
  end)

  it("in own-policy looks at the question's length", function()
    serve("own-policy")
    assert.equal("groq/llama-3.1-8b-instant", target_of("default"))
    local long = { { role = "user", content = ("long "):rep(100) } }
    assert.equal("openrouter/qwen/qwen3-235b-a22b", target_of("default", { messages = long }))
    local many = {}
    for i = 1, 201 do many[i] = { role = "user", content = "on" } end
    assert.equal(413, ask("default", { messages = many }).status)
  end)

  it("in redaction lets in who has a key, and no address out", function()
    serve("redaction")
    assert.equal(401, ask("default", nil, { Authorization = "Bearer wk-eve" }).status)
    local said = { { role = "user", content = "Write to ada@example.org about ACME-42" } }
    assert.equal(200, ask("tickets", { messages = said }).status)
    local body = request_of("groq").body
    assert.is_truthy(body:find("Write to [email] about [redacted]", 1, true), body)
    stop()
    assert.is_truthy(served.child.text.err:find('"event":"request"', 1, true))
    assert.is_nil(served.child.text.err:find("ada@", 1, true))
  end)

  it("in hide-thinking sends no thought", function()
    url("groq", "--reasoning", "let me think")
    serve("hide-thinking")
    assert.is_truthy(ask("aloud", { stream = true }).body:find("think", 1, true))
    assert.is_nil(ask("default", { stream = true }).body:find("think", 1, true))
    assert.is_nil(ask("default").body:find("think", 1, true))
  end)

  it("in own-provider reads how long Gemini asks to wait", function()
    url("google", "--status", "429", "--shape", "gemini", "--message", "Please retry in 46.5s.")
    serve("own-provider")
    assert.equal("laptop/llama3.2", target_of("default"))
    local line = served.child:wait_for("err", function(text)
      return text:match("event=cooldown[^\n]*")
    end, "the cooldown")
    assert.is_truthy(line:find("key=google/gemini-2.5-flash", 1, true), line)
    assert.is_truthy(line:find("reason=rate_limited seconds=4[67]"), line) -- 46.5, rounded
  end)

  it("in own-provider sees that a plan has no such model", function()
    url("google", "--status", "429", "--shape", "gemini", "--message", "Quota exceeded, limit: 0")
    serve("own-provider")
    assert.equal("laptop/llama3.2", target_of("default", { store = true }))
    served.child:wait_for("err", function(text)
      return text:find("outcome=no_model", 1, true)
    end, "the outcome")
    assert.is_nil(request_of("google").body:find("store", 1, true))
  end)

  describe("in policies", function()
    it("send the second policy's answer when the first has nobody left", function()
      url("groq", "--status", "500")
      serve("policies")
      assert.equal("laptop/llama3.2", target_of("first_of"))
    end)

    it("leave the client's own mistake to the client", function()
      url("groq", "--status", "400")
      serve("policies")
      assert.equal(400, ask("first_of").status)
    end)

    it("keep at home what is private", function()
      serve("policies")
      assert.equal("groq/llama-3.3-70b-versatile", target_of("at_home"))
      assert.equal("laptop/llama3.2", target_of("at_home", nil, { ["X-Private"] = "yes" }))
    end)

    it("clamp the length of answers", function()
      serve("policies")
      ask("clamp", { max_tokens = 5000 })
      assert.is_truthy(request_of("groq").body:find('"max_tokens":1000', 1, true))
      ask("clamp", { max_tokens = 10 })
      assert.is_truthy(request_of("groq").body:find('"max_tokens":10[,}]'))
    end)

    it("ask an overloaded target once more", function()
      url("groq", "--status", "503", "--fault-first", "1")
      serve("policies")
      local response = ask("once_more")
      assert.equal(200, response.status)
      assert.equal("2", response.headers["x-weir-attempts"])
    end)

    it("count tokens", function()
      serve("policies")
      ask("count")
      served.child:wait_for("err", function(text)
        return text:match("event=policy says=used[^\n]*tokens=%d+")
      end, "the line")
    end)

    it("edit the body for one attempt", function()
      url("groq", "--status", "500")
      serve("policies")
      assert.equal("laptop/llama3.2", target_of("patient", { temperature = 1 }))
      assert.is_truthy(request_of("groq").body:find('"temperature":0.2', 1, true))
      assert.is_truthy(request_of("laptop").body:find('"temperature":1[,}]'))
    end)

    it("change the text of events", function()
      url("groq", "--text", "quiet please")
      serve("policies")
      assert.equal("QUIET PLEASE", ask("shout").json.choices[1].message.content)
      assert.is_truthy(ask("shout", { stream = true }).body:find('"QUIET"', 1, true))
    end)

    it("mask a name that chunk borders cut", function()
      url("groq", "--text", "On Project Heron we wait.") -- a word a chunk
      serve("policies")
      local text = ""
      for _, data in ipairs(openai.events(ask("mask", { stream = true }).body)) do
        local chunk = data ~= "[DONE]" and http.decode(data)
        local choice = chunk and chunk.choices[1]
        text = text .. (choice and choice.delta.content or "")
      end
      assert.equal("On [name] we wait.", text)
      assert.equal("On [name] we wait.", ask("mask").json.choices[1].message.content)
    end)
  end)

  it("in clients talk to the demo", function()
    local version = io.popen("node --version 2>/dev/null"):read("*l")
    if not version or tonumber(version:match("%d+")) < 20 then
      return pending("the openai package needs Node 20 or later")
    elseif not lfs.attributes("node_modules/openai") then
      return pending("npm ci has not been run")
    end
    url("first", "--text", "Hello you")
    serve("demo", NO_KEYS)
    local child = process.start({ "node", "examples/clients/ask.mjs" },
      { OPENAI_BASE_URL = ("http://127.0.0.1:%d/v1"):format(served.port) })
    assert.equal(0, child:wait(), child.text.err)
    assert.equal("Hello you", child.text.out)
  end)
end)

describe("the documents", function()
  local shown = { lua = true, python = true, js = true }
  local pages = { "README.md", "core/README.md" }
  for _, name in ipairs(files_below("docs")) do
    if name:find("%.md$") then pages[#pages + 1] = "docs/" .. name end
  end

  --- Whether the lines of block stand, as whole lines, in a file of examples/.
  local function is_in_examples(block)
    for _, path in ipairs(files_below("examples")) do
      if ("\n" .. read_file("examples/" .. path)):find("\n" .. block, 1, true) then return true end
    end
    return false
  end

  for _, page in ipairs(pages) do
    it("show in " .. page .. " what stands in examples", function()
      local text, found = read_file(page), 0
      for language, block in text:gmatch("\n```(%w+)\n(.-\n)```\n") do
        found = found + 1
        if shown[language] then
          assert(is_in_examples(block), page .. ": in no file of examples/:\n" .. block)
        end
      end
      assert.equal(found, select(2, text:gsub("\n```%w+\n", "")))
    end)

    it("give in " .. page .. " commands that weir mock takes", function()
      for line in read_file(page):gmatch("\n(weir mock %-%-listen [^\n]*)") do
        line = line:gsub(" +#.*", ""):gsub("127%.0%.0%.1:%d+", "127.0.0.1:0")
        local mock = process.start { "sh", "-c", "exec " .. (os.getenv("WEIR") or "build/weir")
          .. line:sub(5) }
        mock:wait_for("out", function(text) return text:find("listening on", 1, true) end, line)
        mock:kill()
      end
    end)

    it("link in " .. page .. " to files that are there", function()
      local folder = page:match("^(.*/)") or ""
      for link in read_file(page):gmatch("%]%(([^)#:]+)#?[^)]*%)") do
        assert(lfs.attributes(folder .. link), page .. " links to " .. link)
      end
    end)
  end

  it("name in core/README.md functions that are there", function()
    local code = ""
    for _, name in ipairs(files_below("core")) do
      if name:find("%.[ch]$") then code = code .. read_file("core/" .. name) end
    end
    for name in read_file("core/README.md"):gmatch("`([a-z]+_[a-z_]+)`") do
      assert(code:find("%f[%w_]" .. name .. "%f[^%w_]"), name .. " is not in core/")
    end
  end)
end)
