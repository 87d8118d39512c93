--- clerk_refuse.lua -- ends a request to the clerk with that status; clerk.lua words the answer.
---@param status number
---@param message string what is wrong with which member, what is expected, what was meant
---@param allow string|nil the methods that are served, of a 405
return function(status, message, allow)
  error({ status = status, message = message, allow = allow }, 0)
end
