local fake = require("spec.support.fake")
local config = require("weir.config")

local TYPES = { "azure", "cerebras", "groq", "openai", "openrouter" }
local KNOWN = {}
for _, name in ipairs(TYPES) do KNOWN[name] = true end

local tools = {
  is_secret = fake.is_secret,
  types = TYPES,
  zone = function(name)
    return name == "Europe/Berlin", "/zones", { "Africa/Bamako", "Europe/Berlin" }
  end,
  provider = function(name) return KNOWN[name] and require("weir.providers." .. name) or nil end,
}

local function policy() end

--- A sound configuration with the changes of one spec.
local function raw(changes)
  local value = {
    providers = { laptop = { type = "openai", base_url = "http://127.0.0.1:11434/v1" } },
    models = { default = policy },
  }
  for name, change in pairs(changes or {}) do value[name] = change end
  return value
end

local function with_provider(members)
  return raw { providers = { groq = members } }
end

local function groq(members)
  members.type, members.key = members.type or "groq", members.key or fake.secret("env GROQ")
  return with_provider(members)
end

--- Exactly one problem, of that path and with that in its message; gives it.
local function assert_problem(value, path, words)
  local _, problems = config.check(value, tools)
  local told = {}
  for i, problem in ipairs(problems) do told[i] = problem.path .. ": " .. problem.message end
  assert.equal(1, #problems, table.concat(told, "\n"))
  assert.equal(path, problems[1].path)
  assert.truthy(problems[1].message:find(words, 1, true), problems[1].message)
  return problems[1]
end

local function settings_of(value)
  local settings, problems = config.check(value, tools)
  assert.same({}, problems)
  return settings
end

describe("config", function()
  it("fills in every default", function()
    local settings = settings_of(raw())
    assert.same({ host = "127.0.0.1", port = 4000 }, settings.listen)
    assert.equal(0, settings.workers)
    assert.equal(600, settings.drain)
    assert.is_nil(settings.keys)
    assert.same({ connect = 5, first = 60, idle = 30, total = 600 }, settings.timeout)
    assert.equal(60, settings.cooldown)
    assert.same({ body = 16777216, headers = 32768, connections = 10000, in_flight = 4096,
      head_time = 10, body_time = 60, idle_time = 75, stuck_time = 30 }, settings.limits)
    assert.same({ on_error = "closed", burst = 0.05, memory = 33554432, jit = false, fetch = {},
      check_time = 60 }, settings.policy)
    assert.equal("synthesize", settings.ratelimit_headers)
    assert.same({ level = "info", format = "logfmt" }, settings.log)
    assert.equal("./data", settings.data)
    assert.same({ unix = "data/admin.sock", hosts = {} }, settings.admin)
    assert.is_nil(settings.fallback)
  end)

  it("shares no default between two readings", function()
    local first = settings_of(raw())
    first.timeout.first, first.listen.port = 1, 1
    local second = settings_of(raw())
    assert.equal(60, second.timeout.first)
    assert.equal(4000, second.listen.port)
  end)

  it("keeps what was said", function()
    local settings = settings_of(raw {
      workers = 2, drain = 0, cooldown = 1.5, timeout = { first = 0.25 },
      limits = { body = 1024 }, log = { level = "debug", format = "json", file = "weir.log" },
      policy = { on_error = "open", burst = 0.1, jit = false }, ratelimit_headers = "strip",
      data = "/var/lib/weir",
    })
    assert.equal(2, settings.workers)
    assert.equal(0, settings.drain)
    assert.same({ connect = 5, first = 0.25, idle = 30, total = 600 }, settings.timeout)
    assert.equal(1024, settings.limits.body)
    assert.same({ level = "debug", format = "json", file = "weir.log" }, settings.log)
    assert.equal("open", settings.policy.on_error)
    assert.equal("strip", settings.ratelimit_headers)
  end)

  it("says what weir.lua has to return", function()
    for _, value in ipairs { 1, "x", true } do
      local _, problems = config.check(value, tools)
      assert.equal("weir.lua", problems[1].path)
      assert.truthy(problems[1].message:find("must return a table, not a " .. type(value), 1, true))
    end
    local _, problems = config.check(nil, tools)
    assert.equal("must return a table, not nothing", problems[1].message)
  end)

  it("finds all problems at once, in a fixed order", function()
    local value = raw { workers = "two", drian = 1, timeout = { frist = 1, idle = {} } }
    local paths = {}
    for _, problem in ipairs((select(2, config.check(value, tools)))) do
      paths[#paths + 1] = problem.path
    end
    assert.same({ "drian", "timeout.frist", "timeout.idle", "workers" }, paths)
  end)
end)

describe("config, whatever it is given", function()
  local names = { "listen", "keys", "timeout", "limits", "policy", "log", "providers", "models",
    "groq", "type", "key", "base_url", "headers", "first", "level", "body", "tls", "admin", "x" }
  local leaves = { "x", "", "groq", 0, -1, 1.5, 0 / 0, 1 / 0, true, false, policy, fake.secret(),
    ("y"):rep(300), "a\nb", "http://x", ":1" }

  local function any(depth)
    if depth == 0 or math.random() < 0.3 then return leaves[math.random(#leaves)] end
    local value = {}
    for _ = 1, math.random(0, 6) do
      local name = math.random() < 0.1 and math.random(-1, 3) or names[math.random(#names)]
      value[name] = any(depth - 1)
    end
    return value
  end

  it("gives settings and problems with a path and a sentence, and never raises", function()
    math.randomseed(11)
    for _ = 1, 3000 do
      local settings, problems = config.check(any(4), tools)
      assert.equal("number", type(settings.listen.port))
      assert.equal("table", type(settings.providers))
      for _, problem in ipairs(problems) do
        assert.truthy(#problem.path > 0 and #problem.path < 400)
        assert.truthy(#problem.message > 0)
        assert.is_nil(problem.message:find("%c"))
      end
    end
  end)
end)

describe("config, listen", function()
  it("takes IPv4, names, IPv6 in brackets, and every interface", function()
    local keys = { fake.secret("env WEIR_KEY") }
    local good = {
      ["127.0.0.1:4000"] = { host = "127.0.0.1", port = 4000 },
      ["localhost:0"] = { host = "localhost", port = 0 },
      ["[::1]:4000"] = { host = "::1", port = 4000 },
      [":4000"] = { host = "0.0.0.0", port = 4000 },
      ["0.0.0.0:65535"] = { host = "0.0.0.0", port = 65535 },
      ["gateway.example.test:80"] = { host = "gateway.example.test", port = 80 },
    }
    for text, listen in pairs(good) do
      assert.same(listen, settings_of(raw { listen = text, keys = keys }).listen)
    end
  end)

  it("refuses what is no address", function()
    local bad = {
      "4000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:4000", "[::1]", "a b:1",
      "300.1.1.1:80", "1.2.3:80", "127.0.0.1:80 ", "unix:x", "127.0.0.1:-1", "",
    }
    for _, text in ipairs(bad) do assert_problem(raw { listen = text }, "listen", "must be") end
    assert_problem(raw { listen = 4000 }, "listen", "must be a string")
  end)

  it("wants keys for all but the loopback", function()
    for _, text in ipairs { ":4000", "0.0.0.0:4000", "192.168.1.5:4000", "[::]:1", "gw:1" } do
      assert_problem(raw { listen = text }, "listen", "without keys")
    end
    for _, text in ipairs { "127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1" } do
      settings_of(raw { listen = text })
    end
  end)
end)

describe("config, keys", function()
  it("takes a list of secrets", function()
    local a, b = fake.secret("env A"), fake.secret("file B")
    assert.same({ a, b }, settings_of(raw { keys = { a, b } }).keys)
  end)

  it("refuses texts without repeating them", function()
    local problem = assert_problem(raw { keys = { "hunter2" } }, "keys[1]", "do not belong in")
    assert.is_nil(problem.message:find("hunter2", 1, true))
  end)

  it("refuses an empty list, and one with a hole", function()
    assert_problem(raw { keys = {} }, "keys", "is the variable set?")
    assert_problem(raw { keys = { nil, fake.secret() } }, "keys", "is the variable set?")
  end)

  it("refuses what is no list of secrets", function()
    assert_problem(raw { keys = fake.secret() }, "keys", "must be a list")
    assert_problem(raw { keys = "x" }, "keys", 'must be a list of secrets, or "ledger"')
    assert_problem(raw { keys = { 5 } }, "keys[1]", "must be a secret")
    assert_problem(raw { keys = { fake.secret(), main = fake.secret() } }, "keys.main", "is a list")
  end)
end)

describe("config, what a ledger is for", function()
  it("refuses a webhook where no key has a budget", function()
    assert_problem(raw { ledger = { webhook = "https://hooks.example.com/x" } }, "ledger.webhook",
      "is told of budgets")
  end)

  it("says once what is wrong with a price", function()
    assert_problem(raw { prices = { m = { input = "1", output = 2 } } }, "prices.m.input",
      "must be a number")
    assert_problem(raw { prices = { m = { input = 1 } } }, "prices.m", "needs input and output")
  end)
end)

describe("config, the policies' own specs", function()
  it("takes where they are, and how long they may run", function()
    local settings = settings_of(raw { policy = { check = "spec", check_time = 5 } })
    assert.equal("spec", settings.policy.check)
    assert.equal(5, settings.policy.check_time)
    assert.equal(60, settings_of(raw {}).policy.check_time)
  end)

  it("refuses what is no path, and no time", function()
    assert_problem(raw { policy = { check = policy } }, "policy.check", "must be a string like")
    assert_problem(raw { policy = { check = "" } }, "policy.check", "must not be empty")
    assert_problem(raw { policy = { check_time = 0 } }, "policy.check_time", "more than 0")
  end)
end)

describe("config, policy.jit", function()
  it("refuses compiled code, and says why", function()
    assert_problem(raw { policy = { jit = true } }, "policy.jit", "could not be stopped")
    assert.is_false(settings_of(raw { policy = { jit = false } }).policy.jit)
  end)
end)

describe("config, a canary", function()
  local function with(canary) return raw { policy = { canary = canary } } end

  it("completes it", function()
    assert.same({ share = 0.05, requests = 100, time = 60 },
      settings_of(with { share = 0.05 }).policy.canary)
    assert.equal("x-try", settings_of(with { header = "X-Try" }).policy.canary.header)
  end)

  it("refuses one of nobody, and what is no share, header or key", function()
    assert_problem(with { time = 5 }, "policy.canary", "says nobody")
    assert_problem(with(0.1), "policy.canary", "must be a table")
    assert_problem(with { share = 5 }, "policy.canary.share", "at most 1")
    assert_problem(with { header = "a b" }, "policy.canary.header", "the name of a header")
    assert_problem(with { keys = "ANN" }, "policy.canary.keys", "must be a list of names")
    assert_problem(with { keys = { "ANN" } }, "policy.canary.keys[1]", "none of keys is called")
    assert_problem(with { share = 1, requests = 0 }, "policy.canary.requests", "at least 1")
  end)
end)

describe("config, the ledger", function()
  it("lets keys store texts where it says for how long", function()
    local function with(store) return raw { keys = "ledger", ledger = { store = store } } end
    assert.is_nil(settings_of(raw { keys = "ledger" }).ledger.store)
    assert.same({ keep = 30 * 86400, most = 262144, room = 1073741824 },
      settings_of(with { keep = "30d" }).ledger.store)
    assert.same({ keep = 60, most = 1024, room = 1048576 },
      settings_of(with { keep = 60, most = 1024, room = 1048576 }).ledger.store)
    assert_problem(raw { ledger = { store = { keep = 60 } } }, "ledger.store", "keys of a ledger")
    assert_problem(with {}, "ledger.store.keep", "is missing")
    assert_problem(with { keep = "long" }, "ledger.store.keep", 'a time such as "12h" or "30d"')
    assert_problem(with { keep = 0 }, "ledger.store.keep", "a time such as")
    assert_problem(with { keep = "1d", most = 10 }, "ledger.store.most", "at least 1024")
    assert_problem(with { keep = "1d", mots = 10 }, "ledger.store.mots", "unknown member")
    assert_problem(with "30d", "ledger.store", "a table")
  end)

  it("keeps the keys where keys says so", function()
    local settings = settings_of(raw { keys = "ledger", listen = ":4000" })
    assert.equal("ledger", settings.keys)
    assert.same({ timezone = "UTC", answer_tokens = 4096 }, settings.ledger)
    assert_problem(raw { keys = "leger" }, "keys", "must be a list")
  end)

  it("has days of some time zone", function()
    local settings = settings_of(raw { ledger = { timezone = "Europe/Berlin" } })
    assert.equal("Europe/Berlin", settings.ledger.timezone)
    assert_problem(raw { ledger = { timezone = "../etc/passwd" } }, "ledger.timezone",
      "the name of a time zone")
  end)

  it("knows no time zone that the system does not know", function()
    local problem = assert_problem(raw { ledger = { timezone = "Europe/Berln" } },
      "ledger.timezone", 'must be the name of a time zone in /zones, like "Europe/Berlin" or "UTC"')
    assert.equal("Europe/Berlin", problem.suggestion)
  end)

  it("takes prices of both kinds of tokens, and of cached ones", function()
    local own = { m = { input = 0.05, output = 0, cached = 0.01 } }
    assert.equal(0.01, settings_of(raw { prices = own }).prices.m.cached)
    assert_problem(raw { prices = { m = { input = 1 } } }, "prices.m", "needs input and output")
    assert_problem(raw { prices = { m = { input = -1, output = 1 } } }, "prices.m.input",
      "at least 0")
    assert_problem(raw { prices = { m = { input = 1, output = 1, inptu = 1 } } },
      "prices.m.inptu", "unknown member")
  end)
end)

describe("config, members of a later day", function()
  it("lets empty tables be", function()
    settings_of(raw { tls = {}, policy = { fetch = {}, canary = {} } })
    settings_of(groq { limits = {} })
  end)
end)

describe("config, TLS", function()
  it("is two files", function()
    local settings = settings_of(raw { tls = { cert = "a.pem", key = "b.pem" } })
    assert.same({ cert = "a.pem", key = "b.pem" }, settings.tls)
    assert.is_nil(settings_of(raw {}).tls)
  end)

  it("is refused where one is missing, or is no path", function()
    assert_problem(raw { tls = { cert = "a.pem" } }, "tls.key", "is missing")
    assert_problem(raw { tls = { key = "a.pem" } }, "tls.cert", "is missing")
    assert_problem(raw { tls = { cert = 1, key = "b" } }, "tls.cert", "the path of a file")
    assert_problem(raw { tls = { cert = "a", key = "b", crt = "c" } }, "tls.crt", "unknown member")
    assert_problem(raw { tls = "cert.pem" }, "tls", "must be a table")
  end)
end)

describe("config, admin", function()
  local function admin_of(admin)
    local read = settings_of(raw { admin = admin }).admin
    return { unix = read.unix, tcp = read.tcp }
  end

  local TOKEN = fake.secret("env ADMIN_TOKEN")

  it("has a socket, a port, both, or none", function()
    local port = { host = "127.0.0.1", port = 4001 }
    assert.same({ unix = "run/a.sock" }, admin_of { listen = "unix:run/a.sock" })
    assert.same({ unix = "data/admin.sock", tcp = port },
      admin_of { listen = "127.0.0.1:4001", token = TOKEN })
    assert.same({ unix = "a", tcp = port },
      admin_of { listen = { "unix:a", "127.0.0.1:4001" }, token = TOKEN })
    assert.same({ tcp = port }, admin_of { listen = { "127.0.0.1:4001" }, token = TOKEN })
    assert.same({}, admin_of { listen = "off" })
  end)

  it("wants a token for a port, and a word for one that others reach", function()
    assert_problem(raw { admin = { listen = "127.0.0.1:4001" } }, "admin.token", "is missing")
    local open = { listen = ":4001", token = TOKEN }
    assert_problem(raw { admin = open }, "admin.listen", "set admin.public = true")
    open.public = true
    assert.same({ host = "0.0.0.0", port = 4001 }, admin_of(open).tcp)
  end)

  it("refuses what is no place, or two of a kind", function()
    assert_problem(raw { admin = { listen = "admin.sock" } }, "admin.listen", 'must be "unix:PATH"')
    assert_problem(raw { admin = { listen = 4001 } }, "admin.listen", "must be a string")
    assert_problem(raw { admin = { listen = { "unix:a", "unix:b" } } }, "admin.listen[2]", "second")
    assert_problem(raw { admin = { listen = {} } }, "admin.listen[1]", "must be a string")
    assert_problem(raw { admin = { hosts = { "a:1" } } }, "admin.hosts[1]", "without a port")
  end)
end)

describe("config, whom weir.fetch may ask", function()
  local function asks(...)
    return raw { policy = { fetch = { ... } } }
  end

  it("names servers, each by scheme, host and port", function()
    assert.same({
      { base = "https://hooks.example", private = false },
      { base = "http://10.0.0.7:8080", private = true },
    }, settings_of(asks("https://Hooks.example:443/",
      { "http://10.0.0.7:8080", private = true })).policy.fetch)
  end)

  it("refuses what is no server", function()
    assert_problem(raw { policy = { fetch = "https://a.example" } }, "policy.fetch", "a list like")
    assert_problem(asks("a.example"), "policy.fetch[1]", "must begin with")
    assert_problem(asks("https://a.example/path"), "policy.fetch[1]", "no path")
    assert_problem(asks("https://a.example", 7), "policy.fetch[2]", "must be a string")
    assert_problem(asks({ "https://a.example", privat = true }), "policy.fetch[1]", "privat")
    assert_problem(asks({ "https://a.example", private = 1 }), "policy.fetch[1]", "a boolean")
  end)
end)

describe("config, numbers and words", function()
  it("refuses wrong types", function()
    assert_problem(raw { workers = "2" }, "workers", "must be a number, not a string")
    assert_problem(raw { timeout = 5 }, "timeout", "must be a table, not a number")
    assert_problem(raw { log = { level = 1 } }, "log.level", "must be one of")
    assert_problem(raw { log = { file = true } }, "log.file", "must be a string")
    assert_problem(raw { data = "" }, "data", "must not be empty")
    assert_problem(raw { data = "a\nb" }, "data", "control characters")
    assert_problem(raw { policy = { jit = "yes" } }, "policy.jit", "must be true or false")
    assert_problem(raw { admin = { token = "x" } }, "admin.token", "do not belong in the file")
  end)

  it("takes the ends of a range", function()
    settings_of(raw { workers = 1024, drain = 2147483, timeout = { total = 2147483 },
      limits = { body = 1, headers = 1024, in_flight = 1, connections = 1 },
      policy = { memory = 1048576, burst = 60 } })
  end)

  it("refuses numbers out of range", function()
    local bad = {
      ["workers"] = { workers = -1 },
      ["drain"] = { drain = -0.1 },
      ["cooldown"] = { cooldown = 1 / 0 },
      ["timeout.first"] = { timeout = { first = 0 } },
      ["timeout.total"] = { timeout = { total = 2147484 } },
      ["timeout.idle"] = { timeout = { idle = 0 / 0 } },
      ["limits.body"] = { limits = { body = 0 } },
      ["limits.headers"] = { limits = { headers = 10 } },
      ["limits.in_flight"] = { limits = { in_flight = 0 } },
      ["policy.memory"] = { policy = { memory = 5 } },
      ["policy.burst"] = { policy = { burst = 0 } },
    }
    for path, change in pairs(bad) do assert_problem(raw(change), path, "at most") end
    assert_problem(raw { workers = 1.5 }, "workers", "whole number")
  end)

  it("suggests the word that was meant", function()
    assert.equal("debug", assert_problem(raw { log = { level = "debgu" } }, "log.level",
      "must be one of").suggestion)
    assert.equal("listen", assert_problem(raw { lisetn = ":1" }, "lisetn",
      "unknown member").suggestion)
    assert.equal("first", assert_problem(groq { timeout = { frist = 1 } },
      "providers.groq.timeout.frist", "unknown member").suggestion)
    assert.is_nil(assert_problem(raw { zzzzzz = 1 }, "zzzzzz", "unknown member").suggestion)
  end)

  it("quotes names that are no words", function()
    assert_problem(raw { ["a b"] = 1 }, '["a b"]', "unknown member")
    assert_problem(raw { [1] = 1 }, "[1]", "unknown member")
  end)

  it("says where a secret has no place", function()
    local words = "a secret has no place here"
    local names = { "workers", "listen", "data", "log", "models", "providers", "timeout" }
    for _, name in ipairs(names) do
      assert_problem(raw { [name] = fake.secret() }, name, words)
    end
    assert_problem(groq { base_url = fake.secret() }, "providers.groq.base_url", words)
    assert_problem(raw { models = { default = fake.secret() } }, "models.default", words)
  end)
end)

describe("config, providers", function()
  it("joins an entry with its type", function()
    local key = fake.secret("env GROQ_API_KEY")
    local settings = settings_of(raw {
      timeout = { first = 20, idle = 7 }, cooldown = 5,
      providers = { groq = { type = "groq", key = key, timeout = { first = 10 } } },
    })
    local entry = settings.providers[1]
    assert.equal("groq", entry.name)
    assert.equal("groq", entry.type)
    assert.same({ key }, entry.keys)
    assert.equal("https://api.groq.com/openai/v1", entry.base_url)
    assert.same({ header = "authorization", prefix = "Bearer " }, entry.auth)
    assert.same({ connect = 5, first = 10, idle = 7, total = 600 }, entry.timeout)
    assert.equal(5, entry.cooldown)
    assert.same({}, entry.headers)
    assert.equal("logprobs", entry.drop[1])
    assert.equal("required", entry.done)
    assert.is_true(entry.include_usage)
    assert.equal("function", type(entry.classify))
  end)

  it("takes several keys, in order", function()
    local a, b = fake.secret("env A"), fake.secret("env B")
    local settings = settings_of(with_provider { type = "groq", keys = { a, b } })
    assert.same({ a, b }, settings.providers[1].keys)
  end)

  it("refuses keys that are no list of secrets, and keys beside a key", function()
    local function keys(value) return with_provider { type = "groq", keys = value } end
    assert_problem(keys { "gsk_1" }, "providers.groq.keys[1]", "do not belong in")
    assert_problem(keys {}, "providers.groq.keys", "is the variable set?")
    assert_problem(keys(fake.secret()), "providers.groq.keys", "must be a list")
    assert_problem(groq { keys = { fake.secret() } }, "providers.groq.keys", "beside key")
    local many = {}
    for i = 1, 65 do many[i] = fake.secret() end
    assert_problem(keys(many), "providers.groq.keys", "more than 64 keys")
  end)

  it("takes limits, and has none by itself", function()
    local limits = { rpm = 30, tpm = 6000, rpd = 14400, tpd = 500000, concurrent = 4 }
    assert.same(limits, settings_of(groq { limits = limits }).providers[1].limits)
    assert.same({}, settings_of(groq {}).providers[1].limits)
  end)

  it("refuses limits that are no counts", function()
    assert_problem(groq { limits = { rpm = 0 } }, "providers.groq.limits.rpm", "at least 1")
    assert_problem(groq { limits = { rpd = 1.5 } }, "providers.groq.limits.rpd", "whole")
    assert_problem(groq { limits = { rps = 1 } }, "providers.groq.limits.rps", "unknown")
  end)

  it("gives an entry the reader of its type's quotas, and the headers that it reads", function()
    local entry = settings_of(groq {}).providers[1]
    assert.equal("x-ratelimit-limit-requests", entry.quota_headers[1])
    assert.same({ { dimension = "rpd", scope = "model", limit = 9 } },
      entry.quotas({ ["x-ratelimit-limit-requests"] = "9" }, 0))
  end)

  it("refuses a type whose file says wrongly where quotas are", function()
    local broken = setmetatable({ provider = function()
      return { base_url = "http://localhost", quota_formats = { { dimension = "rpm" } } }
    end }, { __index = tools })
    local _, problems = config.check(with_provider { type = "mine" }, broken)
    assert.equal("providers.groq.type", problems[1].path)
    assert.truthy(problems[1].message:find("its quota_formats[1].header must be", 1, true))
  end)

  it("sorts by name", function()
    local names = {}
    local one = { type = "openai", base_url = "http://localhost:1" }
    local settings = settings_of(raw { providers = { b = one, a = one, c = one } })
    for i, entry in ipairs(settings.providers) do names[i] = entry.name end
    assert.same({ "a", "b", "c" }, names)
  end)

  it("lets an entry's own cooldown win, 0 too", function()
    assert.equal(0, settings_of(groq { cooldown = 0 }).providers[1].cooldown)
  end)

  it("wants a type and knows which there are", function()
    local missing = assert_problem(with_provider { key = fake.secret() }, "providers.groq.type",
      "is missing")
    assert.equal('type = "groq"', missing.suggestion)
    local unknown = assert_problem(groq { type = "grok" }, "providers.groq.type", "unknown type")
    assert.equal("groq", unknown.suggestion)
    assert_problem(groq { type = 5 }, "providers.groq.type", "must be a string")
  end)

  it("wants a key where the type has one", function()
    for _, name in ipairs { "groq", "cerebras", "openrouter", "openai" } do
      assert_problem(with_provider { type = name }, "providers.groq.key", "needs a key")
    end
    settings_of(with_provider { type = "openai", base_url = "http://localhost:1/v1" })
  end)

  it("refuses a key that is written in the file, without repeating it", function()
    local problem = assert_problem(groq { key = "gsk_0123456789" }, "providers.groq.key",
      'weir.env "NAME" or weir.file "PATH"')
    assert.is_nil(problem.message:find("gsk_", 1, true))
    assert_problem(groq { key = 5 }, "providers.groq.key", "must be a secret")
  end)

  it("wants a base URL where the type has none", function()
    local entry = { type = "azure", key = fake.secret() }
    local problem = assert_problem(raw { providers = { east = entry } }, "providers.east.base_url",
      "is missing: this type has none of its own")
    assert.equal('base_url = "https://RESOURCE.openai.azure.com/openai/v1"', problem.suggestion)
    entry.base_url = "https://east.openai.azure.com/openai/v1"
    local settings = settings_of(raw { providers = { east = entry } })
    assert.same({ header = "api-key", prefix = "" }, settings.providers[1].auth)
  end)

  it("refuses names that no target could hold", function()
    for _, name in ipairs { "a/b", "a b", "", "caf\195\169" } do
      local _, problems = config.check(raw { providers = { [name] = {} } }, tools)
      assert.equal(1, #problems)
      assert.truthy(problems[1].message:find("name has letters", 1, true))
    end
    local entry = { type = "openai", base_url = "http://localhost:1" }
    settings_of(raw { providers = { ["My.box_2-b"] = entry } })
  end)

  it("refuses a bad base URL", function()
    assert_problem(groq { base_url = "api.groq.com" }, "providers.groq.base_url", "must begin with")
    assert_problem(groq { base_url = "http://a@b" }, "providers.groq.base_url", "credentials")
    assert.equal("http://localhost:1/v1",
      settings_of(groq { base_url = "http://localhost:1/v1/" }).providers[1].base_url)
  end)

  it("refuses what is no table", function()
    assert_problem(raw { providers = "groq" }, "providers", "must be a table")
    assert_problem(raw { providers = { groq = "x" } }, "providers.groq", "must be a table")
    local missing = raw()
    missing.providers = nil
    assert_problem(missing, "providers", "must be a table of providers by name, not nothing")
  end)
end)

describe("config, headers of a provider", function()
  it("takes texts and secrets, sorted by name", function()
    local secret = fake.secret("env TITLE")
    local value = groq { headers = { ["X-Title"] = secret, ["HTTP-Referer"] = "https://a.test" } }
    assert.same({
      { name = "http-referer", value = "https://a.test" },
      { name = "x-title", value = secret },
    }, settings_of(value).providers[1].headers)
  end)

  it("refuses names that are no tokens, framing, hop-by-hop and credentials", function()
    local bad = {
      ["x y"] = "header's name", [""] = "header's name", ["x:"] = "header's name",
      ["x\r\ny"] = "header's name",
      ["Content-Length"] = "by the gateway", ["transfer-encoding"] = "by the gateway",
      ["Connection"] = "by the gateway", ["Host"] = "by the gateway", ["TE"] = "by the gateway",
      ["Authorization"] = "use key", ["x-api-key"] = "use key", ["API-Key"] = "use key",
    }
    for name, words in pairs(bad) do
      local _, problems = config.check(groq { headers = { [name] = "x" } }, tools)
      assert.equal(1, #problems, name)
      assert.truthy(problems[1].message:find(words, 1, true), name)
    end
    local _, problems = config.check(groq { headers = { "x" } }, tools)
    assert.equal("providers.groq.headers[1]", problems[1].path)
  end)

  it("adds a type's own, which the entry's override", function()
    local own = {
      is_secret = fake.is_secret, types = { "own" },
      provider = function()
        return { base_url = "http://a", auth = { header = "x-own-key" },
          headers = { ["X-One"] = "1", ["X-Two"] = "2" } }
      end,
    }
    local settings, problems = config.check(raw { providers = {
      a = { type = "own", headers = { ["x-two"] = "3" } },
      b = { type = "own", headers = { ["X-Own-Key"] = "y" } },
    } }, own)
    assert.same({ { name = "x-one", value = "1" }, { name = "x-two", value = "3" } },
      settings.providers[1].headers)
    assert.equal("providers.b.headers.X-Own-Key", problems[1].path)
  end)

  it("refuses values that would smuggle a line", function()
    for _, text in ipairs { "a\r\nx: y", "a\nb", "a\0b", "\1", "\31", "\127" } do
      assert_problem(groq { headers = { x = text } }, "providers.groq.headers.x", "control")
    end
    settings_of(groq { headers = { x = "a\tb caf\195\169" } })
  end)

  it("refuses what is no text, and a name that is there twice", function()
    assert_problem(groq { headers = { x = 5 } }, "providers.groq.headers.x", "a string or a secret")
    assert_problem(groq { headers = "x" }, "providers.groq.headers", "a table of values")
    assert_problem(groq { headers = { x = "1", X = "2" } }, "providers.groq.headers.x", "twice")
  end)
end)

describe("config, models", function()
  it("sorts by name and keeps the policy of every other name apart", function()
    local function other() end
    local settings = settings_of(raw { models = { b = policy, a = other, ["*"] = policy } })
    local models = { { name = "a", policy = other }, { name = "b", policy = policy } }
    assert.same(models, settings.models)
    assert.equal(policy, settings.fallback)
  end)

  it("hints at the waterfall where a target or a list of them stands", function()
    local text = assert_problem(raw { models = { default = "groq/llama" } }, "models.default",
      "must be a policy (a function), not a string")
    assert.equal('waterfall { "groq/llama" }', text.suggestion)
    local list = assert_problem(raw { models = { default = { "groq/llama" } } }, "models.default",
      "must be a policy")
    assert.equal("waterfall { … }", list.suggestion)
  end)

  it("refuses what is no table of named policies", function()
    assert_problem(raw { models = policy }, "models", "must be a table of policies")
    assert_problem(raw { models = {} }, "models", "names no model")
    assert_problem(raw { models = { policy } }, "models[1]", "must have a name")
    assert_problem(raw { models = { ["*"] = 5 } }, 'models["*"]', "must be a policy")
  end)
end)
