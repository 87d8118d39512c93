--- Each byte of a text by itself, as a network may cut it.
---@param text string
---@return string[]
return function(text)
  local bytes = {}
  for i = 1, #text do
    bytes[i] = text:sub(i, i)
  end
  return bytes
end
