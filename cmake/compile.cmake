# How all of it is compiled: the language, warnings, sanitizers.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON) # for editors and the analyzers of tools/lint
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g -fno-plt")
add_compile_options(-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
                    -Wpointer-arith -Wwrite-strings -Wno-unused-parameter -fno-omit-frame-pointer)
add_compile_definitions(_GNU_SOURCE WEIR_VERSION="${PROJECT_VERSION}")

add_link_options(-Wl,-z,relro,-z,now) # all is bound before anybody's bytes come

set(SANITIZE "" CACHE STRING "sanitizers to build with, e.g. address,undefined")
if(SANITIZE)
  add_compile_options(-fsanitize=${SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SANITIZE})
endif()

# A slip of ours ends the process, not more: a copy past its end, or over a return address.
# The sanitizers look closer, and want the functions as they are.
if(NOT SANITIZE AND NOT FUZZ AND CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
endif()
