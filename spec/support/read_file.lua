--- The bytes of a file, which must be there.
---@param path string
---@return string
return function(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end
