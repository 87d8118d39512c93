local native = require("spec.support.native")
local reference = require("spec.core.parsers.json.reference")
local Random = require("spec.core.parsers.json.random")
local cases = require("spec.core.parsers.json.cases")

local C, ffi = native.load { "slice", "err", "chunk", "buf", "json" }

local COUNTS = { "prompt", "completion", "total", "cached", "reasoning" }

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

local function text_of(s)
  return s.ptr ~= nil and ffi.string(s.ptr, s.len) or nil
end

-- What is said in a chunk: only the fields that say something.
local function read(text)
  local chunk = ffi.new("struct chunk[1]")
  local err = C.chunk_read(slice(text), chunk)
  chunk = chunk[0]
  if err ~= C.ERR_OK then return { err = ffi.string(C.err_name(err)) } end
  local said = {
    kind = ffi.string(C.chunk_kind_name(chunk.kind)),
    text = text_of(chunk.text),
    finish = text_of(chunk.finish),
    error = text_of(chunk.error),
    usage = text_of(chunk.usage),
    index = chunk.index ~= 0 and chunk.index or nil,
    choices = chunk.choices,
    commits = C.chunk_commits(chunk),
  }
  for _, name in ipairs(COUNTS) do
    local count = tonumber(chunk.count[name])
    if count ~= -1 then
      said.count = said.count or {}
      said.count[name] = count
    end
  end
  return said
end

local function chat(delta, more)
  return ('{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":%s%s}]}')
    :format(delta, more or "")
end

local function kind_and_text(text)
  local said = read(text)
  return { said.kind, said.text }
end

describe("chunk_read", function()
  it("knows a delta that says nothing yet", function()
    for _, text in ipairs {
      chat('{"role":"assistant"}'), chat('{"role":"assistant","content":""}'), chat("{}"),
      chat('{"content":null}'), chat('{"role":"assistant","content":"","refusal":null}'),
      chat('{"content":"","reasoning":"","tool_calls":[]}'), chat('{"content":[]}'),
      chat('{"content":""}', ',"finish_reason":null'),
      chat('{"content":""}', ',"finish_reason":""'),
      chat("null"), '{"choices":[{"index":0,"text":"","finish_reason":null}]}', '{"choices":[{}]}',
    } do
      assert.same({ kind = "role", choices = 1, commits = false }, read(text), text)
    end
  end)

  it("reads any layout, and no part of one", function()
    local compact = '{"id":"chatcmpl-0123456789abcdef","created":1795336714,"choices":[{"index":0,'
      .. '"delta":{"content":"some text that is longer than any block and has no commas in it"},'
      .. '"logprobs":null,"finish_reason":null}],"system_fingerprint":"fp_0123456789","usage":null}'
    local expected = read(compact)
    assert.same({ "content", true, 1 }, { expected.kind, expected.commits, expected.choices })
    for _, layout in ipairs {
      { ",", ", " }, { ":", ": " }, { ":", " : " }, { ",", "\n          ,\t" }, { "{", "{\r\n  " },
      { ",", ",\n" .. (" "):rep(40) }, { "}", "\n" .. (" "):rep(17) .. "}" },
    } do
      local text = compact:gsub("%" .. layout[1], layout[2])
      assert.same(expected, read(text), text)
    end
    for len = 0, #compact - 1 do
      assert.same({ err = "syntax" }, read(compact:sub(1, len)), "a cut after " .. len)
    end
  end)

  it("gives the text as it is written", function()
    assert.same({ kind = "content", text = "h\\u00e9\\n\195\169", choices = 1, commits = true },
      read(chat('{"content":"h\\u00e9\\n\195\169"}')))
    assert.same({ "content", " a" }, kind_and_text(chat('{"role":"assistant","content":" a"}')))
    assert.same({ "content", "no" }, kind_and_text(chat('{"content":null,"refusal":"no"}')))
    assert.same({ "content", "x" }, kind_and_text('{"choices":[{"text":"x","index":0}]}'))
    assert.same({ "content", "x" },
      kind_and_text('{"ch\\u006fices":[{"delta":{"c\\u006fntent":"x"}}]}'))
  end)

  it("knows thinking by both its names", function()
    for _, name in ipairs { "reasoning", "reasoning_content" } do
      assert.same({ kind = "reasoning", text = "hm", choices = 1, commits = true },
        read(chat(('{"content":"","%s":"hm"}'):format(name))))
    end
    assert.same({ "role" }, kind_and_text(chat('{"reasoning":null,"reasoning_content":""}')))
  end)

  it("knows pieces of tool calls, with or without an id", function()
    for _, calls in ipairs {
      '"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f"}}]',
      '"tool_calls":[{"index":1,"function":{"arguments":"{\\"a\\":"}}]',
      '"tool_calls":[{"function":{"arguments":""}}]',
      '"function_call":{"name":"f","arguments":""}',
    } do
      assert.same({ kind = "tool_call", choices = 1, commits = true },
        read(chat('{"content":null,' .. calls .. "}")))
    end
  end)

  it("takes a list of parts for content, as Mistral sends it", function()
    assert.same({ kind = "content", choices = 1, commits = true },
      read(chat('{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]}')))
  end)

  it("knows a finish, and the finish beside a text", function()
    assert.same({ kind = "finish", finish = "stop", choices = 1, commits = true },
      read(chat("{}", ',"finish_reason":"stop"')))
    assert.same({ kind = "content", text = "a", finish = "length", choices = 1, commits = true },
      read(chat('{"content":"a"}', ',"finish_reason":"length"')))
    assert.same({ kind = "content", text = "a", finish = "length", choices = 1, commits = true },
      read('{"choices":[{"finish_reason":"length","delta":{"content":"a"}}]}'))
  end)

  it("keeps the first finish and the first error of several", function()
    local two = '{"choices":[{"finish_reason":"stop"},{"finish_reason":"length"}]}'
    assert.equal("stop", read(two).finish)
    assert.equal("1", read('{"error":1,"choices":[{"error":2}],"error":3}').error)
  end)

  it("lets the strongest thing that is said win", function()
    local parts = {
      { "content", '"content":"c"' }, { "tool_call", '"tool_calls":[{}]' },
      { "reasoning", '"reasoning":"r"' }, { "role", '"role":"assistant"' },
    }
    for strong = 1, #parts do
      for weak = strong + 1, #parts do
        for _, order in ipairs { { strong, weak }, { weak, strong } } do
          local a, b = parts[order[1]][2], parts[order[2]][2]
          assert.equal(parts[strong][1], read(chat("{" .. a .. "," .. b .. "}")).kind)
          assert.equal(parts[strong][1], read(
            ('{"choices":[{"delta":{%s}},{"delta":{%s}}]}'):format(a, b)).kind)
        end
      end
    end
    assert.equal("reasoning", read(chat('{"reasoning":"r"}', ',"finish_reason":"stop"')).kind)
  end)

  it("counts the choices and gives the index of the first", function()
    assert.same({ kind = "content", text = "b", index = 2, choices = 2, commits = true },
      read('{"choices":[{"index":2,"delta":{}},{"index":1,"delta":{"content":"b"}}]}'))
    assert.equal(0, read('{"choices":[]}').choices)
    assert.equal(-1, read("{}").choices)
    assert.equal(-1, read('{"choices":null}').choices)
    for _, index in ipairs { "-1", "1e3", "99999999999", '"1"', "null", "[3]" } do
      assert.is_nil(read(('{"choices":[{"index":%s}]}'):format(index)).index, index)
    end
  end)

  it("reads a whole plain answer", function()
    local usage = '{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}'
    local function answer(message, finish)
      return read(('{"id":"c","object":"chat.completion","choices":[{"index":0,"message":%s,'
        .. '"logprobs":null,"finish_reason":"%s"}],"usage":%s}'):format(message, finish, usage))
    end
    local count = { prompt = 1, completion = 2, total = 3 }
    assert.same({ kind = "content", text = "hi", finish = "stop", usage = usage, count = count,
      choices = 1, commits = true }, answer('{"role":"assistant","content":"hi"}', "stop"))
    assert.equal("tool_call", answer('{"content":null,"tool_calls":[{}]}', "tool_calls").kind)
    assert.equal("finish", answer('{"role":"assistant","content":""}', "stop").kind)
    assert.same({ kind = "other", choices = -1, commits = false, usage = '{"prompt_tokens":1}',
      count = { prompt = 1 } },
      read('{"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":1}}'))
  end)

  it("reads usage wherever it stands", function()
    local usage = '{ "prompt_tokens":9, "completion_tokens":7,"total_tokens":16,"x":[1],'
      .. '"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":4},'
      .. '"completion_tokens_details":{"reasoning_tokens":5} }'
    local count = { prompt = 9, completion = 7, total = 16, cached = 4, reasoning = 5 }
    local said = { usage = usage, count = count, commits = false, kind = "usage", choices = 0 }
    assert.same(said, read('{"choices":[],"usage":' .. usage .. "}"))
    assert.same(said, read('{"usage":' .. usage .. ',"choices":[]}'))
    said.choices = -1
    assert.same(said, read('{"usage":' .. usage .. "}"))
    said.choices, said.kind = 1, "role"
    assert.same(said, read('{"choices":[{"delta":{}}],"usage":' .. usage .. "}"))
    said.kind, said.commits, said.finish = "finish", true, "stop"
    assert.same(said, read('{"choices":[{"delta":{},"finish_reason":"stop"}],'
      .. '"x_groq":{"id":"r","usage":' .. usage .. "}}"))
  end)

  it("prefers OpenAI's usage to Groq's, whichever comes first", function()
    local top, own = '"usage":{"total_tokens":1}', '"x_groq":{"usage":{"prompt_tokens":2}}'
    for _, text in ipairs { top .. "," .. own, own .. "," .. top } do
      local said = read("{" .. text .. "}")
      assert.same({ total = 1 }, said.count)
      assert.equal('{"total_tokens":1}', said.usage)
    end
  end)

  it("believes no count that no answer has", function()
    local said = read('{"choices":[],"usage":{"prompt_tokens":9223372036854775807,'
      .. '"completion_tokens":1000000001,"total_tokens":1000000000,'
      .. '"prompt_tokens_details":{"cached_tokens":99999999999}}}')
    assert.same({ total = 1000000000 }, said.count)
  end)

  it("has no usage where it is null, and no number where it is none", function()
    assert.same({ kind = "other", choices = 0, commits = false },
      read('{"choices":[],"usage":null,"x_groq":{"usage":null}}'))
    for written, number in pairs { ["12.0"] = 12, ["999999999"] = 999999999,
      ["0"] = 0, ["1.9"] = 1 } do
      assert.same({ total = number }, read(('{"usage":{"total_tokens":%s}}'):format(written)).count)
    end
    for _, written in ipairs { "-1", "1e3", '"12"', "null", "9223372036854775808", "{}", "true",
      "99999999999999999999999" } do
      assert.is_nil(read(('{"usage":{"total_tokens":%s}}'):format(written)).count, written)
    end
  end)

  it("knows an error wherever providers put it", function()
    local err = '{"message":"m","code":502}'
    for _, text in ipairs {
      '{"error":%s}', '{"type":"error","error":%s}', '{"choices":[],"error":%s}',
      '{"error":%s,"choices":[{"delta":{"content":"x"},"finish_reason":"error"}]}',
      '{"choices":[{"delta":{"content":""},"finish_reason":"error"}],"error":%s}',
      '{"choices":[{"error":%s,"delta":{"content":"x"}}]}', '{"x_groq":{"error":%s}}',
      '{"type":"response.failed","response":{"id":"r","error":%s}}',
      '{"response":{"error":%s},"type":"response.failed"}', '{"error":%s,"error":null}',
    } do
      local said = read(text:format(err))
      assert.same({ "error", err, false }, { said.kind, said.error, said.commits }, text)
      assert.is_nil(said.text)
    end
    for _, value in ipairs { '"text"', "500", "[]", "{}", "false" } do
      assert.equal(value, read(('{"error": %s }'):format(value)).error)
    end
  end)

  it("gives the whole message when only the type says that it is an error", function()
    for _, text in ipairs { '{"type":"error","message":"m"}', '{"type":"response.failed"}',
      '{"type":"\\u0065rror"}' } do
      assert.same({ kind = "error", error = text, choices = -1, commits = false }, read(text))
    end
  end)

  it("takes no null for an error", function()
    assert.equal("content", read('{"error":null,"choices":[{"delta":{"content":"a"}}]}').kind)
    assert.equal("other",
      read('{"type":"response.created","response":{"error":null,"usage":null}}').kind)
    assert.equal("other", read('{"type":"ping"}').kind)
    assert.equal("other", read('{"type":["error"],"x_groq":{"error":null}}').kind)
    assert.equal("other", read('{"type":"message_delta","usage":{"output_tokens":1}}').kind)
  end)

  it("passes over shapes that it does not know", function()
    for _, text in ipairs { "{}", '{"choices":{}}', '{"choices":"x"}', '{"usage":[1]}',
      '{"id":1}', '{"x_groq":1,"response":[{"error":1}]}', '{"choices":[]}',
      '{"prompt_filter_results":[{}]}' } do
      local said = read(text)
      assert.same({ "other", false }, { said.kind, said.commits }, text)
    end
    for _, choice in ipairs { "[]", '{"delta":[]}', '{"delta":{"content":5,"tool_calls":"x"}}',
      '{"finish_reason":[1],"text":{}}', '{"delta":{"delta":{"content":"x"}}}' } do
      local kind = read('{"choices":[' .. choice .. "]}").kind
      assert.is_true(kind == "role" or kind == "other", choice)
    end
  end)

  it("refuses what is no JSON object", function()
    for text, err in pairs { [""] = "syntax", ["[DONE]"] = "syntax", ["[]"] = "type",
      ['[{"error":{}}]'] = "type", ["1"] = "type", ['"x"'] = "type", ["{}x"] = "trailing",
      ['{"choices":[{"delta":{"content":"\255"}}]}'] = "utf8", ["<html>"] = "syntax",
      ['{"choices":[{"delta":{"content":"a"'] = "syntax", ['{"choices":[}'] = "syntax",
      ['{"choices":[1,]}'] = "syntax", ['{"choices":[{"delta":{"content":[1 2]}}]}'] = "syntax" } do
      assert.same({ err = err }, read(text), text)
    end
  end)

  it("says nothing of a message that it refuses", function()
    local chunk = ffi.new("struct chunk[1]")
    local text = '{"choices":[{"delta":{"content":"a"},"finish_reason":"x"}],"usage":{},"error":1'
    assert.equal(C.ERR_SYNTAX, C.chunk_read(slice(text), chunk))
    assert.equal(C.CHUNK_OTHER, chunk[0].kind)
    assert.is_true(chunk[0].text.ptr == nil and chunk[0].finish.ptr == nil
      and chunk[0].error.ptr == nil and chunk[0].usage.ptr == nil)
  end)

  it("is as strict as json_check", function()
    local offset = ffi.new("size_t[1]")
    local function agree(text)
      local valid = C.json_check(slice(text), offset) == C.ERR_OK
      local said = read(text)
      if said.err == "type" then
        assert.is_true(valid, text)
      else
        assert.equal(valid, said.err == nil, text)
      end
    end
    local whole = '{"id":"c","choices":[{"index":0,"delta":{"role":"a","content":"x","tool_calls":'
      .. '[{"index":0}],"reasoning":null},"finish_reason":"stop","error":null}],"type":"x",'
      .. '"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":2}},'
      .. '"x_groq":{"usage":{"total_tokens":3}},"response":{"error":null},"error":null}'
    for _, shape in ipairs { "%s", '{"choices":%s}', '{"choices":[{"delta":%s}]}', '{"usage":%s}',
      '{"choices":[{"delta":{"content":%s}}]}', '{"error":%s}', '{"x_groq":%s}', '{"type":%s}',
      '{"choices":[{"index":%s}]}', '{"usage":{"prompt_tokens_details":%s}}' } do
      local before, after = shape:match("^(.*)%%s(.*)$") -- a text may hold a NUL
      for _, text in ipairs(cases.accepted) do agree(before .. text .. after) end
      for _, case in ipairs(cases.refused) do agree(before .. case[1] .. after) end
    end
    Random.cases(3000, function(random) agree(random:mutate(random:mutate(whole))) end)
  end)

  it("reads the same from any order of members", function()
    local top = { '"id":"x"', '"usage":{"total_tokens":3,"prompt_tokens":1}', '"object":"o"',
      '"choices":%s', '"x_groq":{"usage":{"total_tokens":9}}', '"created":1' }
    local choice = { '"index":3', '"delta":{%s}', '"finish_reason":"stop"', '"logprobs":null' }
    local delta = { '"role":"assistant"', '"content":"hey"', '"reasoning":"r"',
      '"tool_calls":[{}]' }
    local function shuffled(random, list)
      local copy = { unpack(list) }
      for i = #copy, 2, -1 do
        local j = random:int(1, i)
        copy[i], copy[j] = copy[j], copy[i]
      end
      return table.concat(copy, ",")
    end
    Random.cases(300, function(random)
      local inner = shuffled(random, choice):format(shuffled(random, delta))
      local text = "{" .. shuffled(random, top):format("[{" .. inner .. "}]") .. "}"
      assert.is_truthy(reference.parse(text))
      assert.same({ kind = "content", text = "hey", finish = "stop", index = 3, choices = 1,
        commits = true, usage = '{"total_tokens":3,"prompt_tokens":1}',
        count = { total = 3, prompt = 1 } }, read(text), text)
    end)
  end)
end)

describe("what a chunk says", function()
  local function bytes(text)
    local chunk = ffi.new("struct chunk[1]")
    assert.equal(C.ERR_OK, C.chunk_read(slice(text), chunk))
    return tonumber(chunk[0].said)
  end

  it("is counted whatever it is, in every choice", function()
    local call = '{"index":0,"id":"call_1","type":"function","function":%s}'
    for text, expected in pairs {
      [chat('{"role":"assistant"}')] = 0,
      [chat('{"content":"four"}')] = 4,
      [chat('{"content":"four","reasoning":"sixsix"}')] = 10,
      [chat('{"refusal":"no"}')] = 2,
      ['{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"bc"}},{"text":"def"}]}'] = 6,
      [chat('{"content":[{"type":"text","text":"ab"},{"type":"thinking","thinking":['
        .. '{"type":"text","text":"cde"}]}]}')] = 5,
      [chat('{"tool_calls":[' .. call:format('{"name":"abc","arguments":"{}"}') .. "]}")] = 5,
      [chat('{"tool_calls":[' .. call:format('{"arguments":{"a":1}}') .. ",null,7]}")] = 7,
      [chat('{"tool_calls":[{"custom":{"name":"x","input":"yz"}}]}')] = 3,
      [chat('{"function_call":{"name":"abc","arguments":"de"}}')] = 5,
    } do
      assert.equal(expected, bytes(text), text)
    end
  end)
end)

describe("a usage", function()
  it("is read in a choice too, and with what is cached where some say that", function()
    local said = read('{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":'
      .. '{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32,"cached_tokens":7}}]}')
    assert.same({ prompt = 19, completion = 13, total = 32, cached = 7 }, said.count)
    said = read('{"choices":[],"usage":{"prompt_tokens_details":{"cached_tokens":5},'
      .. '"prompt_cache_hit_tokens":6}}')
    assert.same({ cached = 6 }, said.count)
    said = read('{"choices":[{"usage":null},{"usage":{"total_tokens":1}}],'
      .. '"usage":{"total_tokens":2}}')
    assert.same({ total = 2 }, said.count)
  end)
end)

describe("what a usage says that it cost", function()
  local function cost(usage)
    local chunk = ffi.new("struct chunk[1]")
    assert.equal(C.ERR_OK, C.chunk_read(slice('{"usage":' .. usage .. "}"), chunk))
    return tonumber(chunk[0].cost)
  end

  it("is read as micro-dollars, rounded up", function()
    for usage, expected in pairs {
      ['{}'] = -1, ['{"cost":null}'] = -1, ['{"cost":"0.1"}'] = -1, ['{"cost":-1}'] = -1,
      ['{"cost":1e300}'] = -1, ['{"cost":0.' .. ("1"):rep(90) .. "}"] = -1,
      ['{"cost":0}'] = 0, ['{"cost":0.95}'] = 950000, ['{"cost":0.00014}'] = 140,
      ['{"cost":1.4e-4}'] = 140, ['{"cost":1E-9}'] = 1, ['{"cost":0.0000011}'] = 2,
      ['{"cost":0.1,"is_byok":false,"cost_details":{"upstream_inference_cost":2}}'] = 100000,
      ['{"cost_details":{"upstream_inference_cost":2},"is_byok":true,"cost":0.1}'] = 2100000,
      ['{"cost":0.1,"is_byok":true,"cost_details":{"upstream_inference_cost":null}}'] = 100000,
      ['{"cost":0.1,"is_byok":true,"cost_details":null}'] = 100000,
    } do
      assert.equal(expected, cost(usage), usage)
    end
  end)
end)

describe("chunk_usage_merge", function()
  it("keeps the larger of each number", function()
    local none = C.chunk_usage_none()
    local into = ffi.new("struct chunk_usage[1]", { none })
    C.chunk_usage_merge(into, ffi.new("struct chunk_usage[1]", { { 1, 2, -1, 0, -1 } }))
    C.chunk_usage_merge(into, ffi.new("struct chunk_usage[1]", { { 3, 1, -1, -1, 0 } }))
    local found = {}
    for i, name in ipairs(COUNTS) do found[i] = tonumber(into[0][name]) end
    assert.same({ 3, 2, -1, 0, 0 }, found)
  end)
end)
