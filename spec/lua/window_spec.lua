local fake = require("spec.support.fake")
local window = require("weir.window")

--- Finds <…>, which may hold spaces.
local function find(text, init)
  local first, last = text:find("<[%w ]+>?", init)
  if first and last - first >= 2 then return first, last, "#" end
end

local function play(view, events)
  local response = fake.response { events = events }
  response:map(function(event) return view:map(event, find) end)
  return response:play()
end

local function texts(events)
  local list = {}
  for i, event in ipairs(events) do list[i] = event.text or event.kind end
  return list
end

local function joined(events, kind, index)
  local text = ""
  for _, event in ipairs(events) do
    if event.kind == kind and event.index == (index or 0) then text = text .. event.text end
  end
  return text
end

local function content(text, index)
  return fake.event { kind = "content", text = text, index = index }
end

local function done()
  return fake.event { kind = "done" }
end

describe("a window over a plain answer", function()
  it("holds nothing back, for nothing follows", function()
    local event = fake.event { text = "hello", whole = true }
    local given = window.new(100):map(event, function(text, init)
      local first, last = text:find("ell", init, true)
      return first, last, "ipp"
    end)
    assert.equal("hippo", given.text)
  end)
end)

describe("window", function()
  it("holds back its last bytes and sends them at the end", function()
    local sent = play(window.new(4), { content("abcdefgh"), content("ij"), done() })
    assert.same({ "abcdef", "ghij", "done" }, texts(sent))
  end)

  it("sends each event when the next one comes, with the text that is settled then", function()
    local view = window.new(4)
    local first, second = content("abc"), content("def")
    assert.is_nil(view:map(first, find))
    assert.equal(first, view:map(second, find))
    assert.equal("ab", first.text)
    assert.equal(second, view:map(done(), find)[1])
    assert.equal("cdef", second.text)
  end)

  it("does not touch an event whose text stays as it is", function()
    local members = content("abc")
    local event = setmetatable({}, {
      __index = members,
      __newindex = function() error("written") end,
    })
    local view = window.new(9)
    view:map(event, find)
    assert.equal(event, view:map(done(), find)[1])
    members.text = "<abc>"
    view:map(event, find)
    assert.has_error(function() view:map(done(), find) end)
  end)

  it("finds a place however it is cut", function()
    local text = "one <two three> four <five> six"
    for first = 1, #text - 1 do
      for second = first, #text - 1 do
        local sent = play(window.new(4), { content(text:sub(1, first)),
          content(text:sub(first + 1, second)), content(text:sub(second + 1)), done() })
        assert.equal("one # four # six", joined(sent, "content"))
      end
    end
  end)

  it("holds a place that may still grow, however long it is", function()
    local events = { content("x <ab") }
    for _ = 1, 500 do events[#events + 1] = content("cd ef") end
    events[#events + 1] = content("> y")
    events[#events + 1] = done()
    local view = window.new(4)
    local sent = play(view, events)
    assert.equal("x # y", joined(sent, "content"))
  end)

  it("keeps little of a place that grows for ever", function()
    local view = window.new(4)
    view:map(content("<ab"), find)
    for _ = 1, 10000 do view:map(content("abcdefgh"), find) end
    assert.truthy(#view.held[0].text <= 64)
  end)

  it("keeps choices apart", function()
    local sent = play(window.new(4), {
      content("a <b", 0), content("c <d", 1), content("b> e", 0), content("d> f", 1), done(),
    })
    assert.equal("a # e", joined(sent, "content", 0))
    assert.equal("c # f", joined(sent, "content", 1))
  end)

  it("sends a choice's text before its finish, and before its tool calls", function()
    for _, kind in ipairs { "finish", "tool_call" } do
      local sent = play(window.new(9), {
        content("ab", 0), content("cd", 1), fake.event { kind = kind, index = 1 },
        fake.event { kind = kind, index = 0 }, done(),
      })
      assert.same({ "cd", kind, "ab", kind, "done" }, texts(sent))
    end
  end)

  it("sends all texts before the end and before an error", function()
    for _, kind in ipairs { "done", "error" } do
      local sent = play(window.new(9), { content("ab", 0), content("cd", 1),
        fake.event { kind = kind } })
      assert.same({ "ab", "cd", kind }, texts(sent))
    end
  end)

  it("holds nothing once an event with text finishes its choice", function()
    local function last()
      local event = content("<ab>")
      event.raw = 'data: {"choices":[{"delta":{"content":"<ab>"},"finish_reason" : "stop"}]}'
      return event
    end
    local view = window.new(9)
    assert.equal("#", view:map(last(), find).text)
    assert.is_nil(next(view.held))
    view:map(content("a "), find)
    assert.same({ "", "a #" }, texts(view:map(last(), find)))
  end)

  it("does not take a text about a finish_reason, or null, for one", function()
    for _, raw in ipairs { [[{"content":"\"finish_reason\":\"stop\""}]],
      [[{"finish_reason":null}]], [[{"native_finish_reason":"x"}]] } do
      local event = content("ab")
      event.raw = raw
      assert.is_nil(window.new(9):map(event, find))
    end
  end)

  it("sends the thinking before the answer", function()
    local sent = play(window.new(9), {
      fake.event { kind = "reasoning", text = "hm <xy" }, content("so"), done(),
    })
    assert.same({ "hm #", "so", "done" }, texts(sent))
    assert.same({ "reasoning", "content" }, { sent[1].kind, sent[2].kind })
  end)

  it("passes an event whose text Lua cannot hold, after what waits", function()
    local odd = fake.event { kind = "content" }
    local sent = play(window.new(9), { content("ab"), odd, content("cd"), done() })
    assert.same({ "ab", "content", "cd", "done" }, texts(sent))
    assert.equal(odd, sent[2])
  end)

  it("passes every other event as it is", function()
    for _, kind in ipairs { "role", "usage", "other" } do
      local event = fake.event { kind = kind }
      local view = window.new(9)
      view:map(content("ab"), find)
      assert.equal(event, view:map(event, find))
    end
  end)

  it("holds back only words, where words are what is looked for", function()
    local sent = play(window.new(20, 1), { content("one two thr"), content("ee four"), done() })
    assert.same({ "one two three ", "four", "done" }, texts(sent))
    sent = play(window.new(20, 2), { content("one two thr"), content("ee  four"), done() })
    assert.same({ "one two ", "three  four", "done" }, texts(sent))
  end)

  it("holds back no more than its bytes of a long word", function()
    local sent = play(window.new(4, 1), { content("abcdef"), content("gh"), done() })
    assert.same({ "abcd", "efgh", "done" }, texts(sent))
  end)

  it("sends nothing twice and loses nothing where nothing is found", function()
    local text = "The quick brown fox  jumps\nover the lazy dog. "
    for size = 1, 12 do
      local events = {}
      for at = 1, #text, size do events[#events + 1] = content(text:sub(at, at + size - 1)) end
      events[#events + 1] = done()
      assert.equal(text, joined(play(window.new(size, size % 3 + 1), events), "content"))
      for _, event in ipairs(events) do event.text = nil end
    end
  end)
end)
