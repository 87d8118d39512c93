# What Weir's own Lua says goes into the binary as text: core/policy/embed.h.
find_program(LUAJIT_PROGRAM NAMES luajit REQUIRED)
file(GLOB_RECURSE EMBEDDED CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} lua/weir/*.lua policies/*.lua)
set(EMBED ${CMAKE_BINARY_DIR}/embed.c)
add_custom_command(
  OUTPUT ${EMBED}
  COMMAND ${LUAJIT_PROGRAM} tools/embed.lua ${EMBED} ${EMBEDDED}
  DEPENDS ${EMBEDDED} tools/embed.lua
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  COMMENT "Embedding Lua"
  VERBATIM)
