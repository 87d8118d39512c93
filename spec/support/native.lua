--- The core's leaves and parsers, called from Lua through LuaJIT's FFI.
--
--     local C, ffi = native.load { "slice", "err", "sse" }
--
-- The headers in core/ are the declarations: what FFI cannot read (preprocessor
-- lines, inline functions, attributes) is left out.  The library is the one
-- named by WEIR_PARSERS, or build/libweir-parsers.so.

local lfs = require("lfs")
local read_file = require("spec.support.read_file")

local native = {}

-- busted forgets modules between files, FFI never forgets a declaration: so
-- what is declared is kept in the registry, which lives as long as FFI does.
local registry = debug.getregistry()
registry["weir.native"] = registry["weir.native"] or { ffi = require("ffi"), declared = {} }
local state = registry["weir.native"]

--- The C text of a header that ffi.cdef can read.
---@param text string
---@return string
local function declarations(text)
  text = text:gsub("\\\n", " ")               -- continued lines
  text = ("\n" .. text):gsub("/%*.-%*/", " ")
  text = text:gsub("//[^\n]*", "")
  text = text:gsub("\n%s*#[^\n]*", "\n")
  text = text:gsub("__attribute__%s*%b()", "")
  text = text:gsub("MUST_CHECK", "")
  text = text:gsub("_Atomic%s+", "") -- of the same size
  text = text:gsub("static%s+inline[^{;]*%b{}", "")
  text = text:gsub("_Static_assert%s*%b()%s*;", "")
  return text
end

--- The path of a header of core/, in whatever room it is.
local function header(name)
  for room in lfs.dir("core") do
    local path = ("core/%s/%s.h"):format(room, name)
    if lfs.attributes(path, "mode") == "file" then return path end
  end
  error("core/ has no " .. name .. ".h")
end

local function declare(ffi, name)
  if not state.declared[name] then
    ffi.cdef(declarations(read_file(header(name))))
    state.declared[name] = true
  end
end

--- Declares each of core/*/NAME.h once, in order, and opens the library.
---@param headers string[]
---@return ffi.namespace* C
---@return ffilib ffi
function native.load(headers)
  local ffi = state.ffi
  for _, name in ipairs(headers) do
    declare(ffi, name)
  end
  state.library = state.library or ffi.load(os.getenv("WEIR_PARSERS") or "build/libweir-parsers.so")
  return state.library, ffi
end

return native
