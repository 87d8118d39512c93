--- secrets.lua -- how e-mail addresses and keys look, as rules for scan.lua.
local secrets = {}

--- Bytes by which each place below is known: the longest local part of an address, the @, the
--- longest label and two letters of the next (RFC 5321, 4.5.3.1); a key shows itself sooner.
secrets.SIZE = 64 + 1 + 63 + 3

--- Spaces that a place may hold, and one: "Bearer abc".
secrets.WORDS = 2

local MAX_LOCAL = 64 -- bytes

--- At least count of a class, then as many as there are.
local function run(class, count)
  return class:rep(count) .. class .. "*"
end

local TOKEN = "[%w_%-]"
local KEYS = {
  "%f[%w_]sk%-" .. run(TOKEN, 16),              -- OpenAI, Anthropic, OpenRouter, DeepSeek
  "%f[%w_][gc]sk[_%-]" .. run(TOKEN, 16),       -- Groq, Cerebras
  "%f[%w_]A[KS]IA" .. run("[%u%d]", 16),        -- AWS
  "%f[%w_]AIza" .. run(TOKEN, 30),              -- Google
  "%f[%w_]hf_" .. run("%w", 16),                -- Hugging Face
  "%f[%w_]gh[opsur]_" .. run("%w", 16),         -- GitHub
  "%f[%w_]github_pat_" .. run("[%w_]", 16),
  "%f[%w_]xox[abeprs]%-" .. run(TOKEN, 10),     -- Slack
  "%f[%w_]eyJ" .. run(TOKEN, 8) .. "%." .. run("[%w_%-%.]", 8), -- JSON Web Tokens
  "%f[%w_][Bb]earer%s+" .. run("[%w%-%._~+/=]", 16),
}

--- An address, found from its @: a pattern alone would try each letter of a long word.
local function find_address(text, init)
  local at = text:find("@", init, true)
  while at do
    local before = text:sub(math.max(init, at - MAX_LOCAL), at - 1)
    local name = before:match("[%w._%%+-]+$")
    local _, last = text:find("^[%w.-]+%.%a%a+", at + 1)
    if name and last then return at - #name, last end
    at = text:find("@", at + 1, true)
  end
end

--- The rules for addresses and keys, and for patterns of a user's own.
---@param patterns string[] Lua patterns; raises, two levels up, for one that is none
---@return { [1]: string|function, [2]: string }[]
function secrets.rules(patterns)
  local rules = { { find_address, "[email]" } }
  for _, pattern in ipairs(KEYS) do rules[#rules + 1] = { pattern, "[key]" } end
  for i, pattern in ipairs(patterns) do
    if type(pattern) ~= "string" or not pcall(string.find, "", pattern) then
      error(("redact: patterns[%d] is no Lua pattern"):format(i), 3)
    end
    rules[#rules + 1] = { pattern, "[redacted]" }
  end
  return rules
end

return secrets
