--- Every shape of error that is known of the providers, each a file in spec/fixtures/errors: who
--- sends it, what is to follow, and the answer as it comes.
require("spec.support.fake")
local outcome = require("weir.outcome")
local quota = require("weir.quota")

local FOLDER = "spec/fixtures/errors/"
local NOW = 1700000000 -- 2023-11-14 22:13:20 UTC

local function names()
  local list = {}
  local pipe = assert(io.popen("ls " .. FOLDER))
  for name in pipe:lines() do list[#list + 1] = name end
  pipe:close()
  return list
end

local WORDS = { ["nil"] = "nil", ["true"] = true, ["false"] = false }

local function value_of(text)
  local word = WORDS[text]
  if word ~= nil then return word end
  return tonumber(text) or text
end

--- { note, provider, expect = { code = … }, status, headers, body }
local function read(name)
  local file = assert(io.open(FOLDER .. name))
  local text = file:read("*a")
  file:close()
  local note, provider, expect, head, body =
    text:match("^# ([^\n]*)\nprovider: (%S+)\nexpect: ([^\n]*)\n\n(.-)\n\n(.*)$")
  assert(note, name .. " is no fixture")
  local fixture = { note = note, provider = provider, expect = {}, headers = {}, body = body }
  for member, value in expect:gmatch("(%S+)=(%S+)") do fixture.expect[member] = value_of(value) end
  fixture.status = tonumber(head:match("^HTTP/1.1 (%d+)"))
  for header, value in head:gmatch("\n([%w-]+): ([^\n]*)") do fixture.headers[header] = value end
  return fixture
end

local function judge(fixture)
  local entry = { cooldown = 60 }
  local module = require("weir.providers." .. fixture.provider)
  for name, value in pairs(module) do entry[name] = value end
  entry.quota_headers, entry.quotas = quota.reader(entry.quota_formats)
  return outcome.read { target = "p/m", provider = entry, status = fixture.status, now = NOW,
    headers = fixture.headers, body = fixture.body }
end

describe("an error", function()
  local count = 0
  for _, name in ipairs(names()) do
    local fixture = read(name)
    count = count + 1
    it(("is understood: %s (%s)"):format(fixture.note, name), function()
      local err = judge(fixture)
      assert.truthy(fixture.expect.code)
      for member, expected in pairs(fixture.expect) do
        local found = err[member]
        if found == nil then found = "nil" end
        if type(expected) == "number" and type(found) == "number" then
          assert.truthy(math.abs(expected - found) < 1e-6, ("%s: %s"):format(member, found))
        else
          assert.equal(expected, found, member)
        end
      end
    end)
  end

  it("has a file for each", function()
    assert.is_true(count >= 60)
  end)
end)
