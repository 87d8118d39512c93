--- clerk_routes.lua -- all that the clerk serves: method, path, whose function answers (clerk.lua),
--- and every name that a query or a body may have. docs/openapi.yaml describes the same; a spec
--- compares the two.
local LIMITS = { "models", "labels", "rpm", "tpm", "concurrent", "budget", "soft" }

local function with(...)
  local members = { ... }
  for _, name in ipairs(LIMITS) do members[#members + 1] = name end
  return members
end

return {
  { "GET", "/keys", "list", kind = "key", query = { "team", "state", "name", "limit", "after",
    "format" } },
  { "POST", "/keys", "add", kind = "key", members = with("name", "team", "expires", "store") },
  { "GET", "/keys/{name}", "show", kind = "key" },
  { "POST", "/keys/{name}", "set", kind = "key", members = with("team", "expires", "store") },
  { "POST", "/keys/{name}/rotate", "rotate", kind = "key", members = { "grace" } },
  { "POST", "/keys/{name}/revoke", "revoke", kind = "key" },
  { "GET", "/teams", "list", kind = "team", query = { "name", "limit", "after", "format" } },
  { "POST", "/teams", "add", kind = "team", members = with("name") },
  { "GET", "/teams/{name}", "show", kind = "team" },
  { "POST", "/teams/{name}", "set", kind = "team", members = with() },
  { "GET", "/usage", "usage", query = { "by", "key", "team", "model", "target", "since", "until",
    "format" } },
  { "GET", "/requests", "requests", query = { "key", "team", "model", "target", "status", "code",
    "slower", "since", "until", "limit", "before", "format" } },
  { "GET", "/requests/{id}", "request" },
  { "GET", "/requests/{id}/texts", "texts", is_private = true }, -- told over the unix socket alone
}
