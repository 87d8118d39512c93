local queue = require("policies.queue")
local sim = require("weir.sim")

--- A provider that takes one request in so many seconds, and says when the next may come.
local function one_in(name, seconds)
  local free_at = 0
  sim.provider(name):answers(function(call)
    if call.at < free_at then return 429, { retry_after = math.ceil(free_at - call.at) } end
    free_at = call.at + seconds
    return 200
  end)
end

--- The keys in the order in which they were served.
local function served(results)
  local list = {}
  for _, result in ipairs(results) do
    if result.status == 200 then list[#list + 1] = result end
  end
  table.sort(list, function(a, b) return a.served < b.served end)
  local keys = {}
  for i, result in ipairs(list) do keys[i] = result.key end
  return keys
end

--- sim.all, each result with its request's key, and when it was served.
local function all(policy, requests)
  local results = sim.all(policy, requests)
  for i, result in ipairs(results) do
    result.key, result.served = requests[i].key, result.first + (requests[i].at or 0)
  end
  return results
end

describe("queue", function()
  it("asks at once while a target is there", function()
    sim.cool("groq/a", 60)
    local result = sim.run(queue { "groq/a", "laptop/b" })
    assert.same({ "laptop/b" }, result.targets)
    assert.equal(0, result.first)
  end)

  it("waits for the first target that is back", function()
    sim.cool("groq/a", 20)
    sim.cool("laptop/b", 7)
    local result = sim.run(queue { "groq/a", "laptop/b" })
    assert.same({ "laptop/b" }, result.targets)
    assert.equal(7, result.first)
  end)

  it("waits after a 429 that it met itself", function()
    sim.provider("groq"):answers(429, { retry_after = 3 }):answers(200)
    local result = sim.run(queue { "groq/a" })
    assert.equal(200, result.status)
    assert.same({ "groq/a", "groq/a" }, result.targets)
    assert.equal(3, result.first)
  end)

  it("gives up at once where the wait is longer than it may be, and says how long it is", function()
    sim.cool("groq/a", 31, "rate_limited")
    local result = sim.run(queue { "groq/a" })
    assert.same({ 429, "31", 0 }, { result.status, result.headers["retry-after"], result.first })
  end)

  it("says how long the wait is now, after it has waited", function()
    sim.provider("groq"):answers(429, { retry_after = 20 })
    local result = sim.run(queue({ "groq/a" }, { wait = 30 }))
    assert.equal(429, result.status)
    assert.equal(20, result.first)
    assert.equal("20", result.headers["retry-after"])
  end)

  it("does not wait for what failed otherwise", function()
    sim.provider("groq"):answers(500)
    local result = sim.run(queue { "groq/a" })
    assert.same({ "groq/a" }, result.targets)
    assert.equal(0, result.first)
  end)

  it("does not ask again and again where nothing cools", function()
    sim.provider("groq"):answers(503)
    assert.same({ "groq/a" }, sim.run(queue { "groq/a" }).targets)
  end)

  it("lets no more wait than it has places", function()
    sim.cool("groq/a", 10, "rate_limited")
    local results = sim.all(queue({ "groq/a" }, { length = 2 }), { {}, {}, {} })
    assert.same({ 10, 10, 0 }, { results[1].first, results[2].first, results[3].first })
    assert.same({ 200, 200, 429 }, { results[1].status, results[2].status, results[3].status })
    assert.equal("10", results[3].headers["retry-after"])
  end)

  it("gives the place of a client that has left to the next", function()
    sim.cool("groq/a", 10, "rate_limited")
    local results = sim.all(queue({ "groq/a" }, { length = 1 }), { { leaves = 2 }, { at = 3 } })
    assert.equal("left", results[1].ended)
    assert.equal(200, results[2].status)
    assert.equal(1, #sim.asked())
  end)

  it("serves keys in turn, however many requests one of them has", function()
    one_in("groq", 5)
    sim.cool("groq/a", 5)
    local results = all(queue({ "groq/a" }, { wait = 120 }), {
      { key = "loud" }, { key = "loud", at = 0.1 }, { key = "loud", at = 0.2 },
      { key = "calm", at = 0.3 }, { key = "calm", at = 0.4 },
    })
    local keys = served(results)
    assert.equal(5, #keys)
    local calm = 0
    for i = 1, 4 do calm = calm + (keys[i] == "calm" and 1 or 0) end
    assert.equal(2, calm, table.concat(keys, " "))
  end)

  it("serves one key in the order of its requests", function()
    sim.cool("groq/a", 5)
    local requests = { { at = 0 }, { at = 1 }, { at = 2 } }
    for i, request in ipairs(requests) do request.body = { seed = i } end
    local results = all(queue { "groq/a" }, requests)
    for i, call in ipairs(sim.asked()) do assert.equal(i, call.body.seed) end
    assert.equal(3, #sim.asked())
    for _, result in ipairs(results) do
      assert.is_true(result.served >= 5 and result.served < 5.1, result.served)
    end
  end)

  it("asks the policy that it was given", function()
    local asked = 0
    local policy = queue({ "groq/a" }, { policy = function(req)
      asked = asked + 1
      return req:send("groq/a")
    end })
    sim.cool("groq/a", 5)
    assert.equal(200, sim.run(policy).status)
    assert.equal(1, asked)
  end)
end)
