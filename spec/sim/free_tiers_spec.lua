--- Four free tiers, a bursty day of 20,000 requests, and nobody asked who is known to be spent.
local sim = require("weir.sim")
local waterfall = require("policies.waterfall")
local weir = require("weir")

local REQUESTS = 20000
local DAY, BATCH = 86400, 900 -- seconds

--- As the providers published them in 2026: requests and tokens, by minute and day.
local TIERS = {
  { name = "groq", model = "llama-3.1-8b-instant", rpm = 30, rpd = 14400, tpm = 6000,
    tpd = 500000 },
  { name = "cerebras", model = "llama3.1-8b", rpm = 30, rpd = 14400, tpm = 60000, tpd = 1000000 },
  { name = "openrouter", model = "some:free", rpm = 20, rpd = 50 },
  { name = "gemini", model = "gemini-2.5-flash", rpm = 10, rpd = 250, tpm = 250000 },
}
local WINDOWS = { { "rpm", 60 }, { "tpm", 60 }, { "rpd", DAY }, { "tpd", DAY } }

--- The same numbers in every run.
local function random(seed)
  return function()
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed / 2147483648
  end
end

--- A provider's own counters: fixed windows; its minutes begin when it likes.
local function counters(tier, offset)
  local used = {}

  local function room(window, at)
    local dimension, period = window[1], window[2]
    local number = math.floor((at + (period == 60 and offset or 0)) / period)
    local count = used[dimension]
    if not count or count.number ~= number then
      count = { number = number, sum = 0 }
      used[dimension] = count
    end
    count.reset = (number + 1) * period - (period == 60 and offset or 0) - at
    return count, tier[dimension] or math.huge
  end

  local self = {}

  --- Takes it, or gives the seconds until the limit that it met ends.
  function self.take(at, tokens)
    local wait
    for _, window in ipairs(WINDOWS) do
      local count, limit = room(window, at)
      local amount = window[1]:sub(1, 1) == "t" and tokens or 1
      if count.sum + amount > limit then wait = math.max(wait or 0, count.reset) end
    end
    if wait then return false, wait end
    for _, window in ipairs(WINDOWS) do
      local count = room(window, at)
      count.sum = count.sum + (window[1]:sub(1, 1) == "t" and tokens or 1)
    end
    return true
  end

  function self.left(dimension, at)
    for _, window in ipairs(WINDOWS) do
      if window[1] == dimension then
        local count, limit = room(window, at)
        return limit - count.sum, count.reset
      end
    end
  end

  return self
end

local function headers_of(tier, counted, at)
  local requests, day = counted.left("rpd", at)
  local tokens, minute = counted.left("tpm", at)
  if tier.name == "groq" then
    return {
      ["x-ratelimit-limit-requests"] = tier.rpd, ["x-ratelimit-remaining-requests"] = requests,
      ["x-ratelimit-reset-requests"] = ("%gs"):format(day),
      ["x-ratelimit-limit-tokens"] = tier.tpm, ["x-ratelimit-remaining-tokens"] = tokens,
      ["x-ratelimit-reset-tokens"] = ("%gs"):format(minute),
    }
  elseif tier.name == "cerebras" then
    return {
      ["x-ratelimit-limit-requests-day"] = tier.rpd,
      ["x-ratelimit-remaining-requests-day"] = requests,
      ["x-ratelimit-reset-requests-day"] = ("%.6f"):format(day),
      ["x-ratelimit-limit-tokens-minute"] = tier.tpm,
      ["x-ratelimit-remaining-tokens-minute"] = tokens,
      ["x-ratelimit-reset-tokens-minute"] = ("%.6f"):format(minute),
    }, requests == 0 or tokens == 0 -- the others say nothing with a success
  end
end

--- Arrivals of the day, in order: half of them evenly, half in bursts of 50 within 20 s.
local function arrivals()
  local next_random, list = random(1), {}
  for _ = 1, REQUESTS / 2 do list[#list + 1] = { at = next_random() * DAY } end
  while #list < REQUESTS do
    local begin = next_random() * (DAY - 20)
    for _ = 1, 50 do list[#list + 1] = { at = begin + next_random() * 20 } end
  end
  for _, arrival in ipairs(list) do
    arrival.prompt, arrival.completion = 20 + math.floor(next_random() * 150),
      20 + math.floor(next_random() * 150)
  end
  table.sort(list, function(a, b) return a.at < b.at end)
  return list
end

--- How many somebody would serve who knows every counter of every provider.
local function capacity_of(list)
  local all, served = {}, 0
  for i, tier in ipairs(TIERS) do all[i] = counters(tier, 7 * i) end
  for _, arrival in ipairs(list) do
    for _, counted in ipairs(all) do
      if counted.take(arrival.at, arrival.prompt + arrival.completion) then
        served = served + 1
        break
      end
    end
  end
  return served
end

describe("four free tiers and a bursty day", function()
  it("are used to 2 %, with 1 % of 429s, and no request to one that is known spent", function()
    local list, seen = arrivals(), { asked = 0, limited = 0, known = 0 }
    local began, targets = nil, {}
    for i, tier in ipairs(TIERS) do
      targets[i] = tier.name .. "/" .. tier.model
      local counted, closed_from, closed_until = counters(tier, 7 * i), 0, 0
      sim.provider(tier.name, { limits = { rpm = tier.rpm, rpd = tier.rpd, tpm = tier.tpm,
        tpd = tier.tpd }, type = tier.name }):answers(function(call)
        began = began or call.at
        local at, latency = call.at - began, 0.4 + (call.at * 7 % 1)
        local prompt, completion = call.text:match("weighs (%d+) (%d+)")
        seen.asked = seen.asked + 1
        if at > closed_from and at < closed_until then seen.known = seen.known + 1 end
        local ok, wait = counted.take(at, prompt + completion)
        if not ok then
          seen.limited = seen.limited + 1
          closed_from, closed_until = at + latency, math.max(closed_until, at + wait)
          return 429, { retry_after = math.ceil(wait), latency = latency }
        end
        local headers = headers_of(tier, counted, at)
        for _, dimension in ipairs(headers and { "rpd", "tpm" } or {}) do
          local left, reset = counted.left(dimension, at)
          if left == 0 then closed_from, closed_until = at + latency, at + reset end
        end
        return 200, { latency = latency, headers = headers,
          usage = { prompt = tonumber(prompt), completion = tonumber(completion) } }
      end)
    end
    local policy, served, first = waterfall(targets), 0, 1
    for from = 0, DAY - 1, BATCH do
      local batch = {}
      while list[first] and list[first].at < from + BATCH do
        local arrival = list[first]
        batch[#batch + 1] = { at = arrival.at - from, messages = { { role = "user",
          content = ("weighs %d %d"):format(arrival.prompt, arrival.completion)
            .. ("."):rep(4 * arrival.prompt - 60) } } }
        first = first + 1
      end
      local before = weir.now()
      for _, result in ipairs(sim.all(policy, batch)) do
        if result.status == 200 then served = served + 1 end
      end
      sim.sleep(math.max(0, BATCH - (weir.now() - before)))
    end
    local capacity = capacity_of(arrivals())
    local said = ("%d served of %d, %d asked, %d limited, %d known"):format(served, capacity,
      seen.asked, seen.limited, seen.known)
    assert.equal(0, seen.known, said)
    assert.is_true(seen.limited <= seen.asked / 100, said)
    assert.is_true(served >= 0.98 * capacity, said)
  end)
end)
