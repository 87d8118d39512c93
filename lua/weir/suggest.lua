--- suggest.lua -- the known name that a misspelt one was meant to be.

--- The length of the shortest row of edits (insert, drop, replace, swap two neighbours)
--- that turns a into b: "optimal string alignment".
local function distance(a, b)
  local before, last = nil, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    local row = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local best = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if before and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, last = last, row
  end
  return last[#b]
end

--- A third of the letters may be wrong, but one always; a name that is a whole part of the
--- other ("key" of "api_key") is the last resort.
local function closeness(word, name)
  local edits = distance(word, name)
  if edits <= math.max(1, math.floor(math.max(#word, #name) / 3)) then return edits end
  local short, long = word, name
  if #short > #long then short, long = long, short end
  if #short >= 3 and long:find(short, 1, true) then return 1000 + #long - #short end
end

local MAX_WORD = 64 -- bytes; nobody misspells more, and the table is of quadratic size

--- The candidate nearest to word, or nil when none is near; the first of equals.
---@param word string
---@param candidates string[]
---@return string|nil
return function(word, candidates)
  local best, best_name
  word = word:lower()
  for _, name in ipairs(candidates) do
    if #word <= MAX_WORD and #name <= MAX_WORD then
      local edits = closeness(word, name:lower())
      if edits and (not best or edits < best) then best, best_name = edits, name end
    end
  end
  return best_name
end
