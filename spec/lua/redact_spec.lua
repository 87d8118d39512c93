local fake = require("spec.support.fake")
local redact = require("policies.redact")

local KEY = "sk-proj-" .. ("aB3x"):rep(10)

--- A policy that answers with these events, and what the client sees of them.
local function answer_of(events, opts, is_plain)
  local policy = redact(function()
    return fake.response { events = events, stream = not is_plain }
  end, opts)
  return policy(fake.request({})):play()
end

local function joined(events)
  local text = ""
  for _, event in ipairs(events) do text = text .. (event.text or "") end
  return text
end

--- A stream of these pieces.
local function stream(...)
  local events = { fake.event { kind = "role" } }
  for _, piece in ipairs { ... } do events[#events + 1] = fake.event { text = piece } end
  events[#events + 1] = fake.event { kind = "finish" }
  events[#events + 1] = fake.event { kind = "done" }
  return events
end

describe("redact, prompts", function()
  local seen
  local ask = redact(function(req)
    seen = req.body
    return nil, { code = "timeout" }
  end)

  it("takes addresses and keys out of every text of a message", function()
    ask(fake.request({}, { body = { messages = {
      { role = "system", content = "You serve ada@example.com" },
      { role = "user", content = {
        { type = "text", text = "my key is " .. KEY },
        { type = "image_url", image_url = { url = "https://me@example.com/x.png" } },
      } },
      { role = "assistant", tool_calls = { { id = "a@b.cc",
        ["function"] = { name = "mail", arguments = '{"to":"ada@example.com"}' } } } },
    } } }))
    assert.equal("You serve [email]", seen.messages[1].content)
    assert.equal("my key is [key]", seen.messages[2].content[1].text)
    assert.equal("https://me@example.com/x.png", seen.messages[2].content[2].image_url.url)
    local call = seen.messages[3].tool_calls[1]
    assert.equal('{"to":"[email]"}', call["function"].arguments)
    assert.equal("a@b.cc", call.id)
  end)

  it("takes them out of prompt and input, texts and lists", function()
    ask(fake.request({}, { body = { prompt = "to a@b.cc", input = { "x", "c@d.ee", { 1, 2 } } } }))
    assert.equal("to [email]", seen.prompt)
    assert.same({ "x", "[email]", { 1, 2 } }, seen.input)
  end)

  it("writes nothing where there is nothing to take out", function()
    local function watched(value)
      return setmetatable({}, { __index = value, __newindex = function() error("written") end })
    end
    ask(fake.request({}, { body = watched { prompt = "hello", model = "x", input = fake.null } }))
    assert.equal("hello", seen.prompt)
  end)

  it("leaves every other member alone", function()
    ask(fake.request({}, { body = { user = "a@b.cc", model = "m", messages = {} } }))
    assert.equal("a@b.cc", seen.user)
  end)
end)

describe("redact, answers", function()
  it("gives a failure back as it is", function()
    local failure = { code = "timeout" }
    local res, err = redact(function() return nil, failure end)(fake.request {})
    assert.is_nil(res)
    assert.equal(failure, err)
  end)

  it("takes secrets out of a plain answer", function()
    local text = "write to ada@example.com with " .. KEY
    local sent = answer_of({ fake.event { text = text } }, nil, true)
    assert.equal(1, #sent)
    assert.equal("write to [email] with [key]", sent[1].text)
  end)

  it("lets a plain answer without a text pass", function()
    local event = fake.event { kind = "tool_call" }
    assert.equal(event, answer_of({ event }, nil, true)[1])
  end)

  it("takes them out of streams, cut at any place in three", function()
    local secrets = {
      { "ada.lovelace@mail.example.org", "[email]" },
      { "sk-proj-aB3xaB3xaB3xaB3x", "[key]" },
      { "gsk_aB3xaB3xaB3xaB3xaB3x", "[key]" },
      { "AKIAIOSFODNN7EXAMPLE", "[key]" },
      { "Bearer abcdefghijklmnop", "[key]" },
    }
    for _, secret in ipairs(secrets) do
      local text = ("See %s, then go."):format(secret[1])
      for first = 1, #text - 1 do
        for second = first, #text - 1 do
          local sent = answer_of(stream(text:sub(1, first), text:sub(first + 1, second),
            text:sub(second + 1)))
          assert.equal(("See %s, then go."):format(secret[2]), joined(sent))
          assert.equal("done", sent[#sent].kind)
        end
      end
    end
  end)

  it("takes them out byte by byte, also of each other's neighbours", function()
    local text = ("a@b.cc,%s;Bearer %s x@y.zz"):format(KEY, ("q"):rep(300))
    local pieces = {}
    for i = 1, #text do pieces[i] = text:sub(i, i) end
    assert.equal("[email],[key];[key] [email]", joined(answer_of(stream(unpack(pieces)))))
  end)

  it("knows the longest address by what its window holds", function()
    local address = ("l"):rep(64) .. "@" .. ("d"):rep(63) .. ".example"
    for first = 1, #address, 7 do
      for second = first + 1, #address, 5 do
        local sent = answer_of(stream("to " .. address:sub(1, first),
          address:sub(first + 1, second), address:sub(second + 1)))
        assert.equal("to [email]", joined(sent))
      end
    end
    local pieces = {}
    for i = 1, #address do pieces[i] = address:sub(i, i) end
    assert.equal("[email]", joined(answer_of(stream(unpack(pieces)))))
  end)

  it("takes out a secret that the stream ends with", function()
    local sent = answer_of(stream("it is ", KEY:sub(1, 9), KEY:sub(10)))
    assert.equal("it is [key]", joined(sent))
  end)

  it("takes out what an error leaves behind", function()
    local events = stream("it is ", KEY)
    events[#events], events[#events - 1] = nil, fake.event { kind = "error" }
    local sent = answer_of(events)
    assert.equal("it is [key]", joined(sent))
    assert.equal("error", sent[#sent].kind)
  end)

  it("never shows a part of a secret, at no moment", function()
    for cut = 1, #KEY do
      local sent = answer_of(stream("x " .. KEY:sub(1, cut), KEY:sub(cut + 1) .. " y"))
      for _, event in ipairs(sent) do
        assert.is_nil((event.text or ""):find("proj", 1, true))
      end
    end
  end)

  it("is at most two words late", function()
    local sent = answer_of(stream("one ", "two ", "three ", "four "))
    assert.equal("one two ", sent[2].text .. sent[3].text .. sent[4].text)
    assert.equal("three four ", sent[5].text)
  end)

  it("gives each request a window of its own", function()
    local policy = redact(function(req)
      return fake.response { stream = true, events = req.events }
    end)
    local first = policy(fake.request({}, { events = { fake.event { text = "one" } } }))
    first:play()
    local second = policy(fake.request({}, { events = stream("two") }))
    assert.equal("two", joined(second:play()))
  end)

  it("takes out what the user's own patterns find, spaces and all", function()
    local text = "room 12 34 56 is free"
    for cut = 1, #text - 1 do
      local opts = { patterns = { "%d%d %d%d %d%d" } }
      local sent = answer_of(stream(text:sub(1, cut), text:sub(cut + 1)), opts)
      assert.equal("room [redacted] is free", joined(sent))
    end
  end)
end)

describe("redact, misuse", function()
  it("raises at the line that made it", function()
    local bad = {
      { "redact: argument 1 must be a policy", "groq/llama" },
      { "redact: patterns[2] is no Lua pattern", print, { patterns = { "a", "[" } } },
    }
    for _, case in ipairs(bad) do
      local ok, err = pcall(function()
        local policy = redact(case[2], case[3])
        return policy
      end)
      assert.is_false(ok)
      assert.truthy(err:find("redact_spec.lua:%d+: "), err)
      assert.truthy(err:find(case[1], 1, true), err)
    end
  end)
end)
