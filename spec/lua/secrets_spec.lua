local scan = require("weir.scan")
local secrets = require("weir.secrets")

local find = scan.new(secrets.rules {})

local function clean(text)
  return scan.replace(text, find)
end

describe("secrets", function()
  it("knows addresses", function()
    local addresses = {
      "ada@example.com", "ada.b+tag@mail.example.co.uk", "a_b%c-d@ex-ample.org", "A@B.DE",
      ("x"):rep(64) .. "@" .. ("y"):rep(63) .. ".example",
    }
    for _, address in ipairs(addresses) do
      assert.equal("to [email], please", clean("to " .. address .. ", please"))
    end
    assert.equal("<[email]>;[email].", clean("<a@b.cc>;d@e.ff."))
  end)

  it("leaves what is none", function()
    local none = { "a@b", "@home", "a @ b.cc", "user@localhost", "3@4", "@", "a@.", "x@y.1", "@@@" }
    for _, text in ipairs(none) do assert.equal(text, clean(text)) end
  end)

  it("knows keys", function()
    local keys = {
      "sk-" .. ("aB3_"):rep(5), "sk-proj-" .. ("x-Y"):rep(40), "sk-or-v1-" .. ("0f"):rep(32),
      "sk-ant-api03-" .. ("Zz"):rep(20), "gsk_" .. ("a1"):rep(26), "csk-" .. ("a1"):rep(24),
      "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AIza" .. ("aB_-"):rep(9),
      "hf_" .. ("aB"):rep(17), "ghp_" .. ("aB1"):rep(12), "github_pat_" .. ("aB1_"):rep(20),
      "xoxb-123456789012-abc", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
      "Bearer abcdef.123~xyz-789", "bearer  QWERTYUIOPASDFGH==",
    }
    for _, key in ipairs(keys) do
      assert.equal("is [key], yes", clean("is " .. key .. ", yes"), key)
      assert.equal("'[key]'", clean("'" .. key .. "'"), key)
    end
  end)

  it("leaves words that only look alike", function()
    local words = {
      "sk-SK", "risk-averse-and-more-than-sixteen", "sk-learn", "task-oriented-programming-here",
      "Bearer of bad news", "bearer certificates", "the bearer", "hf_", "AKIA", "eyJ", "xoxo-xoxo",
    }
    for _, word in ipairs(words) do assert.equal(word, clean(word)) end
  end)

  it("takes patterns of the user's own, and refuses what is none", function()
    local own = scan.new(secrets.rules { "ACME%-%d+" })
    assert.equal("see [redacted] or [email]", scan.replace("see ACME-12 or a@b.cc", own))
    assert.equal("[key]", scan.replace("Bearer abcdefghijklmnop", own))
    for _, bad in ipairs { "[", "%", "(", 5 } do
      assert.has_error(function() secrets.rules { "ok", bad } end)
    end
  end)

  it("needs no more time for a long word than its length", function()
    local steps, limit = 0, 60
    debug.sethook(function() steps = steps + 1 end, "", 10000)
    clean(("x"):rep(500000) .. "@" .. ("a@"):rep(20000) .. ("sk-"):rep(20000))
    debug.sethook()
    assert.truthy(steps < limit * 10, steps)
  end)
end)
