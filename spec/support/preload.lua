--- Under what a gateway is started so that spec/support/NAME.c, compiled into a folder, takes the
--- place of functions of the C library. Not with a sanitizer, which has a place there of its own.
---@param folder string
---@param name string
---@return string[]
return function(folder, name)
  local library = ("%s/%s.so"):format(folder, name)
  local compile = "cc -D_GNU_SOURCE -O1 -shared -fPIC -o %s spec/support/%s.c -ldl"
  assert(os.execute(compile:format(library, name)) == 0, "it does not compile")
  return { "env", "LD_PRELOAD=" .. library }
end
